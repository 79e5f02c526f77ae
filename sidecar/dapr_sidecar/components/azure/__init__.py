"""What the Azure components share: tokens of Microsoft Entra ID."""
