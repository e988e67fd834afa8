package loops

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestQueueKeepsOrderAndBounds(t *testing.T) {
	const batches = 1000
	var q queue
	numbers := make([]uint64, batches*workload.XferBatch)
	go func() {
		for i := range batches {
			batch, err := q.claim()
			if err != nil {
				return // the consumer has failed
			}
			if n := q.tail.Load() - q.head.Load(); n >= queueDepth {
				q.dead.Store(true)
				return
			}
			for k := range batch {
				n := &numbers[i*workload.XferBatch+k]
				*n = uint64(i)
				batch[k] = unsafe.Pointer(n)
			}
			q.publish()
		}
	}()
	for i := range batches {
		batch, err := q.take()
		if err != nil {
			t.Fatalf("batch %d: the queue was overfilled", i)
		}
		for k, p := range batch {
			if p != unsafe.Pointer(&numbers[i*workload.XferBatch+k]) || *(*uint64)(p) != uint64(i) {
				t.Fatalf("batch %d, pointer %d is wrong", i, k)
			}
		}
		q.release()
	}
}

func TestDeadQueueEndsWaiting(t *testing.T) {
	var q queue
	q.dead.Store(true)
	if _, err := q.take(); !errors.Is(err, errAbandoned) {
		t.Errorf("take from an empty queue: %v", err)
	}
	for range queueDepth {
		if _, err := q.claim(); err != nil {
			t.Fatalf("claim with room left: %v", err)
		}
		q.publish()
	}
	if _, err := q.claim(); !errors.Is(err, errAbandoned) {
		t.Errorf("claim in a full queue: %v", err)
	}
}
