"""The queue and what runs beside the server: the inference worker, trainings, watches."""
