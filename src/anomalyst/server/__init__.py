"""The workbench: one service, a REST API, pages, a store, a watch on folders and cameras."""
