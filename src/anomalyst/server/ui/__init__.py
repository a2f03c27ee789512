"""The workbench's pages: each handler reads its inputs, calls the service, shows what came."""

ROUTES = ("products", "review", "history", "live", "training", "help")  # beside the first page
