"""The workbench's pages: each handler reads its inputs, calls the service, shows what came."""
