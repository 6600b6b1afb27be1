"""The database: tables, and sessions on them. SQL is the truth; everything else can be rebuilt from it."""
