"""`syncd demo`: the whole thing on embedded parts. Sample events go in by the public doors, records come out in a twin CRM."""
