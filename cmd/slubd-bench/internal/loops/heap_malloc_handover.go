package loops

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// The loops of malloc_handover.go on the Go heap.

func (w *heapWorker) larson(n int) error {
	for done := 0; done < n; done += w.spec.Batch {
		if err := w.replace(w.spec.Batch); err != nil {
			return err
		}
		mine := w.live
		w.live = *w.common.exchange(&mine)
	}
	return nil
}

func (w *heapWorker) mstress(n int) error {
	for done := 0; done < n; done += w.spec.Batch {
		if err := onNewThread(w.phase); err != nil {
			return err
		}
	}
	return nil
}

func (w *heapWorker) phase() error {
	random, sizes, live, transfer := w.random, w.sizes, w.live, &w.shared.transfer
	sum, weight := w.sum, w.weight
	for i := range w.spec.Batch {
		slot := random.Draw(uint32(len(live)))
		size := sizes[random.Draw(uint32(len(sizes)))]
		old := live[slot]
		if i%workload.MStressEvery == 0 {
			old = atomic.SwapPointer(&transfer[random.Draw(workload.MStressTransfer)], old)
		}
		if old != nil {
			sum = sum*weight + first(old)
		}
		p := newObject(int(size))
		touch(p, int(random)+int(size))
		live[slot] = p
	}
	w.random, w.sum = random, sum
	return nil
}

func (w *heapWorker) rptest(n int) error {
	random, sizes, live := w.random, w.sizes, w.live
	sum, weight := w.sum, w.weight
	for done, step := 0, 0; done < n; done, step = done+w.spec.Batch, step+1 {
		cross := step%workload.RPTestCross == 0
		parcel := *w.parcel
		slot := random.Draw(uint32(len(live)))
		for i := range parcel {
			size := sizes[random.Draw(uint32(len(sizes)))]
			if cross {
				parcel[i] = live[slot]
			} else {
				sum = sum*weight + first(live[slot])
			}
			p := newObject(int(size))
			touch(p, int(random)+int(size))
			live[slot] = p
			if slot++; int(slot) == len(live) {
				slot = 0
			}
		}
		if !cross {
			continue
		}
		w.parcel = w.common.exchange(w.parcel)
		parcel = *w.parcel
		for i, p := range parcel {
			sum = sum*weight + first(p)
			parcel[i] = nil
		}
	}
	w.random, w.sum = random, sum
	return nil
}

func (w *heapWorker) produce(n int) error {
	d, size := &w.shared.depot, w.spec.Size
	for done := 0; done < n; done += workload.XMallocBatch {
		b, err := d.pop(&d.empty)
		if err != nil {
			return err
		}
		for i := range b.object {
			p := newObject(size)
			touch(p, done+i)
			b.object[i] = p
		}
		d.push(&d.full, b)
	}
	return nil
}

func (w *heapWorker) consume(n int) error {
	d := &w.shared.depot
	sum, weight := w.sum, w.weight
	for done := 0; done < n; done += workload.XMallocBatch {
		b, err := d.pop(&d.full)
		if err != nil {
			return err
		}
		for i, p := range b.object {
			sum = sum*weight + first(p)
			b.object[i] = nil
		}
		d.push(&d.empty, b)
	}
	w.sum = sum
	return nil
}

func (w *heapWorker) sh(n int) error {
	random, sizes, live := w.random, w.sizes, w.live
	sum, weight, box := w.sum, w.weight, &w.common.box
	if w.spec.Kind == workload.SH6 {
		box = &w.own
	}
	for done := 0; done < n; done += w.spec.Batch {
		for _, half := range [2][]unsafe.Pointer{*w.parcel, live} {
			for i := range half {
				size := sizes[random.Draw(uint32(len(sizes)))]
				p := newObject(int(size))
				touch(p, int(random)+int(size))
				half[i] = p
			}
		}
		for i := len(live) - 1; i >= 0; i-- {
			sum = sum*weight + first(live[i])
			live[i] = nil
		}
		w.parcel = box.exchange(w.parcel)
		parcel := *w.parcel
		for i, p := range parcel {
			sum = sum*weight + first(p)
			parcel[i] = nil
		}
	}
	w.random, w.sum = random, sum
	return nil
}
