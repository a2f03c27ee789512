"""The detector and the language model in fewer bytes: what each way costs and keeps."""
