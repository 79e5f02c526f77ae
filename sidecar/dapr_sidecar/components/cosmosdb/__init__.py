"""Signed calls to Azure Cosmos DB."""
