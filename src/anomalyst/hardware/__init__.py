"""What the machine does well: precision, device, threads, memory."""
