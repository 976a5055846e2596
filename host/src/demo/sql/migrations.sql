-- What Prisma keeps beside the tables of the application. It is not ingested.

INSERT INTO _prisma_migrations
    (id, checksum, finished_at, migration_name, logs, rolled_back_at, started_at, applied_steps_count)
VALUES
    ('5b0c2f5e-4a0e-4c55-9d0a-1f6f0e7a9c01',
     '8d1f0b7a6c5e4f3d2b1a09f8e7d6c5b4a3928170f6e5d4c3b2a190817263544a',
     '2022-11-03 06:58:02.104+00:00', '20221103065801_init', NULL, NULL,
     '2022-11-03 06:58:01.733+00:00', 1),
    ('c7d84f19-2f6b-4f39-8a53-6c1be4d2f702',
     '1c2b3a49586776859403f2e1d0cfbeadbc9a8b7f6e5d4c3b2a1908f7e6d5c4b3',
     '2022-11-03 06:58:02.518+00:00', '20221103065802_payment_types', NULL, NULL,
     '2022-11-03 06:58:02.377+00:00', 1);
