"""The same on Ray: served in replicas, or as one job."""
