"""Uploads one file with boto3 as its guide has it, and prints the seconds of each round: ENDPOINT BUCKET FILE ROUNDS."""

import sys
import time

import boto3

endpoint, bucket, file, rounds = sys.argv[1:5]
client = boto3.client("s3", endpoint_url=endpoint)
for turn in range(int(rounds)):
    began = time.perf_counter()
    client.upload_file(file, bucket, f"boto3-{turn}-{began}")
    print(time.perf_counter() - began, flush=True)
