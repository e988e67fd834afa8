package loops

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/slub"
)

// The loops in which objects go from thread to thread.

func (w *mallocWorker) larson(n int) error {
	for done := 0; done < n; done += w.spec.Batch {
		if err := w.replace(w.spec.Batch); err != nil {
			return err
		}
		mine := w.live
		w.live = *w.common.exchange(&mine)
	}
	return nil
}

func (w *mallocWorker) mstress(n int) error {
	for done := 0; done < n; done += w.spec.Batch {
		if err := onNewThread(w.phase); err != nil {
			return err
		}
	}
	return nil
}

// phase is the life of one thread of mstress. The objects that it leaves behind belong
// to its successor.
func (w *mallocWorker) phase() error {
	for i := range w.spec.Batch {
		slot := &w.live[w.random.Draw(uint32(len(w.live)))]
		size := int(w.sizes[w.random.Draw(uint32(len(w.sizes)))])
		old := pointer(*slot)
		if i%workload.MStressEvery == 0 {
			old = atomic.SwapPointer(&w.shared.transfer[w.random.Draw(workload.MStressTransfer)], old)
		}
		if old != nil {
			w.add(*(*uint64)(old))
			slub.Free(old)
		}
		p, err := slub.Malloc(size)
		*slot = refOf(p)
		if err != nil {
			return err
		}
		touch(p, int(w.random)+size)
	}
	return nil
}

func (w *mallocWorker) rptest(n int) error {
	for done, step := 0, 0; done < n; done, step = done+w.spec.Batch, step+1 {
		slot := w.random.Draw(uint32(len(w.live)))
		if step%workload.RPTestCross != 0 {
			if err := w.replaceRow(slot); err != nil {
				return err
			}
			continue
		}
		if err := w.renewRow(slot, *w.parcel); err != nil {
			return err
		}
		w.parcel = w.common.exchange(w.parcel)
		w.freeEach(*w.parcel)
	}
	return nil
}

// replaceRow frees a row of neighbours, the last and the first being some, and allocates
// as many, one by one.
func (w *mallocWorker) replaceRow(slot uint32) error {
	for range w.spec.Batch {
		size := int(w.sizes[w.random.Draw(uint32(len(w.sizes)))])
		r := &w.live[slot]
		w.add(value(*r))
		slub.Free(pointer(*r))
		p, err := slub.Malloc(size)
		*r = refOf(p)
		if err != nil {
			return err
		}
		touch(p, int(w.random)+size)
		if slot++; int(slot) == len(w.live) {
			slot = 0
		}
	}
	return nil
}

// renewRow puts the row into a parcel instead of freeing it.
func (w *mallocWorker) renewRow(slot uint32, parcel []ref) error {
	for i := range parcel {
		size := int(w.sizes[w.random.Draw(uint32(len(w.sizes)))])
		r := &w.live[slot]
		parcel[i] = *r
		p, err := slub.Malloc(size)
		*r = refOf(p)
		if err != nil {
			return err
		}
		touch(p, int(w.random)+size)
		if slot++; int(slot) == len(w.live) {
			slot = 0
		}
	}
	return nil
}

// produce and consume are xmalloc.
func (w *mallocWorker) produce(n int) error {
	d := &w.shared.depot
	for done := 0; done < n; done += workload.XMallocBatch {
		b, err := d.pop(&d.empty)
		if err != nil {
			return err
		}
		err = mallocEach(b.object[:], w.spec.Size, done)
		d.push(&d.full, b) // on an error, too: for leftovers
		if err != nil {
			return err
		}
	}
	return nil
}

// mallocEach fills a parcel of xmalloc.
func mallocEach(object []unsafe.Pointer, size, done int) error {
	for i := range object {
		p, err := slub.Malloc(size)
		if err != nil {
			return err
		}
		touch(p, done+i)
		object[i] = p
	}
	return nil
}

func (w *mallocWorker) consume(n int) error {
	d := &w.shared.depot
	for done := 0; done < n; done += workload.XMallocBatch {
		b, err := d.pop(&d.full)
		if err != nil {
			return err
		}
		for i, p := range b.object {
			w.add(*(*uint64)(p))
			slub.Free(p)
			b.object[i] = nil
		}
		d.push(&d.empty, b)
	}
	return nil
}

// sh is sh6, where the parcel goes to the thread itself, and sh8, where it goes to
// whoever comes next.
func (w *mallocWorker) sh(n int) error {
	box := &w.common.box
	if w.spec.Kind == workload.SH6 {
		box = &w.own
	}
	for done := 0; done < n; done += w.spec.Batch {
		if err := w.fillEach(*w.parcel); err != nil {
			return err
		}
		if err := w.fillEach(w.live); err != nil {
			return err
		}
		w.freeBackwards(w.live)
		w.parcel = box.exchange(w.parcel)
		w.freeEach(*w.parcel)
	}
	return nil
}
