package loops

import (
	"errors"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/slub"
)

// prefillObjects is what prefill borrows: a part of any sheaf, so that the
// oversize path stays out of it.
const prefillObjects = 4

var errPrefillEmpty = errors.New("the prefilled sheaf is empty after Refill")

// ref is how a Go program keeps many objects that aren't on its heap: a number to the
// collector, which neither scans it nor wants a write barrier for it.
type ref = slub.Ref[uint64]

func refOf(p unsafe.Pointer) ref { return slub.RefOf((*uint64)(p)) }

func pointer(r ref) unsafe.Pointer { return unsafe.Pointer(r.Ptr()) }

func slubdPair(c *slub.Cache, n int) error {
	for i := range n {
		p, err := c.Alloc()
		if err != nil {
			return err
		}
		touch(p, i)
		c.Free(p)
	}
	return nil
}

func slubdBatch(c *slub.Cache, live []ref, order []uint32, n int) error {
	for done := 0; done < n; done += len(live) {
		if err := allocEach(c, live); err != nil {
			return err
		}
		freeEach(c, live, order)
	}
	return nil
}

func allocEach(c *slub.Cache, live []ref) error {
	for i := range live {
		p, err := c.Alloc()
		if err != nil {
			return err
		}
		touch(p, i)
		live[i] = refOf(p)
	}
	return nil
}

func freeEach(c *slub.Cache, live []ref, order []uint32) {
	for _, k := range order {
		c.Free(pointer(live[k]))
	}
}

func slubdBulk(c *slub.Cache, live []unsafe.Pointer, n int) error {
	for done := 0; done < n; done += len(live) {
		if err := c.AllocBulk(live); err != nil {
			return err
		}
		for i, p := range live {
			touch(p, i)
		}
		c.FreeBulk(live)
	}
	return nil
}

// slubdPrefill is what a user of Prefill writes. What the sheaf refuses goes
// to the cache, and an empty sheaf is filled again; neither happens where
// objects come straight back, but it does in builds with invariants and with
// objects of other nodes.
func slubdPrefill(c *slub.Cache, p *slub.Prefilled, n int) error {
	for i := range n {
		object := p.Alloc()
		if object == nil {
			if err := p.Refill(prefillObjects); err != nil {
				return err
			}
			if object = p.Alloc(); object == nil {
				return errPrefillEmpty
			}
		}
		touch(object, i)
		if !p.Free(object) {
			c.Free(object)
		}
	}
	return nil
}

func slubdChurn(c *slub.Cache, live []ref, r *workload.Random, n int) error {
	for i := range n {
		slot := &live[r.Draw(uint32(len(live)))]
		c.Free(pointer(*slot))
		p, err := c.Alloc()
		*slot = refOf(p) // nil on an error, so that stop won't free the old one again
		if err != nil {
			return err
		}
		touch(p, i)
	}
	return nil
}

func slubdProduce(c *slub.Cache, q *queue, n int) error {
	for done := 0; done < n; done += workload.XferBatch {
		batch, err := q.claim()
		if err != nil {
			return err
		}
		if err := allocPointers(c, batch); err != nil {
			return err
		}
		q.publish()
	}
	return nil
}

func slubdConsume(c *slub.Cache, q *queue, n int) error {
	for done := 0; done < n; done += workload.XferBatch {
		batch, err := q.take()
		if err != nil {
			return err
		}
		freePointers(c, batch)
		q.release()
	}
	return nil
}

func allocPointers(c *slub.Cache, batch *[workload.XferBatch]unsafe.Pointer) error {
	for i := range batch {
		p, err := c.Alloc()
		if err != nil {
			return err
		}
		touch(p, i)
		batch[i] = p
	}
	return nil
}

func freePointers(c *slub.Cache, batch *[workload.XferBatch]unsafe.Pointer) {
	for _, p := range batch {
		c.Free(p)
	}
}

func slubdRCU(c *slub.Cache, n int) error {
	for i := range n {
		p, err := c.Alloc()
		if err != nil {
			return err
		}
		touch(p, i)
		c.FreeRCU(p)
	}
	return nil
}
