"""What testcases about accounts, patients, backups and updates have in common; none of it makes a verdict."""
