"""A stand-in for Zoho Desk."""
