"""The usual way to score a topic in Python: confluent-kafka, orjson, a T-learner of LightGBM, micro-batches.

python stream_confluent.py FOLDER --brokers HOST:PORT --events TOPIC --scores TOPIC --group NAME --batch 1000 --linger 0.02

FOLDER holds arm_0.txt and arm_1.txt as serve_models.py left them. At least once: scores are produced and flushed, then the
batch's offsets are committed. No score log, no dead letters, no state: less than what it is compared with does. Ends on SIGTERM.
"""

import argparse
import os
import signal

import lightgbm
import numpy as np
import orjson
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

FEATURES = [f"f{i}" for i in range(12)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--events", required=True)
    parser.add_argument("--scores", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--linger", type=float, default=0.02)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arms = [lightgbm.Booster(model_file=os.path.join(arguments.folder, f"arm_{arm}.txt")) for arm in (0, 1)]
    consumer = Consumer(
        {
            "bootstrap.servers": arguments.brokers,
            "group.id": arguments.group,
            "partition.assignment.strategy": "cooperative-sticky",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": arguments.brokers,
            "enable.idempotence": True,
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    consumer.subscribe([arguments.events])
    running = True

    def stop(*_):
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    while running:
        messages = consumer.consume(num_messages=arguments.batch, timeout=arguments.linger)
        rows, keys, ends = [], [], {}
        for message in messages:
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    continue
                raise RuntimeError(message.error())
            rows.append(orjson.loads(message.value()))
            keys.append(message.key())
            ends[message.topic(), message.partition()] = message.offset() + 1
        if not rows:
            continue
        x = np.array([[row.get(name) for name in FEATURES] for row in rows], dtype=float)
        control, treated = (arm.predict(x, num_threads=arguments.threads) for arm in arms)
        for row, key, c, t in zip(rows, keys, control.tolist(), treated.tolist(), strict=True):
            answer = {"id": row["id"], "time": row["time"], "scores": {"cate": t - c, "mean_0": c, "mean_1": t}}
            producer.produce(arguments.scores, orjson.dumps(answer), key=key)
            producer.poll(0)
        if producer.flush(30) > 0:
            raise RuntimeError("scores were not delivered")
        consumer.commit(offsets=[TopicPartition(*place, end) for place, end in ends.items()], asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main()
