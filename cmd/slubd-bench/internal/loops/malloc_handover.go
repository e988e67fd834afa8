package loops

import (
	"sync/atomic"

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
	random, sizes, live, transfer := w.random, w.sizes, w.live, &w.shared.transfer
	sum, weight := w.sum, w.weight
	for i := range w.spec.Batch {
		slot := random.Draw(uint32(len(live)))
		size := sizes[random.Draw(uint32(len(sizes)))]
		old := pointer(live[slot])
		if i%workload.MStressEvery == 0 {
			old = atomic.SwapPointer(&transfer[random.Draw(workload.MStressTransfer)], old)
		}
		if old != nil {
			sum = sum*weight + take(old)
		}
		p, err := slub.Malloc(int(size))
		live[slot] = refOf(p)
		if err != nil {
			return err
		}
		touch(p, int(random)+int(size))
	}
	w.random, w.sum = random, sum
	return nil
}

func (w *mallocWorker) rptest(n int) error {
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
				sum = sum*weight + take(pointer(live[slot]))
			}
			p, err := slub.Malloc(int(size))
			live[slot] = refOf(p)
			if err != nil {
				return err
			}
			touch(p, int(random)+int(size))
			if slot++; int(slot) == len(live) {
				slot = 0
			}
		}
		if !cross {
			continue
		}
		w.parcel = w.common.exchange(w.parcel)
		parcel = *w.parcel
		for i, r := range parcel {
			sum = sum*weight + take(pointer(r))
			parcel[i] = ref{}
		}
	}
	w.random, w.sum = random, sum
	return nil
}

// produce and consume are xmalloc.
func (w *mallocWorker) produce(n int) error {
	d, size := &w.shared.depot, w.spec.Size
	for done := 0; done < n; done += workload.XMallocBatch {
		b, err := d.pop(&d.empty)
		if err != nil {
			return err
		}
		for i := range b.object {
			p, err := slub.Malloc(size)
			if err != nil {
				d.push(&d.full, b) // for leftovers
				return err
			}
			touch(p, done+i)
			b.object[i] = p
		}
		d.push(&d.full, b)
	}
	return nil
}

func (w *mallocWorker) consume(n int) error {
	d := &w.shared.depot
	sum, weight := w.sum, w.weight
	for done := 0; done < n; done += workload.XMallocBatch {
		b, err := d.pop(&d.full)
		if err != nil {
			return err
		}
		for i, p := range b.object {
			sum = sum*weight + take(p)
			b.object[i] = nil
		}
		d.push(&d.empty, b)
	}
	w.sum = sum
	return nil
}

// sh is sh6, where the parcel goes to the thread itself, and sh8, where it goes to
// whoever comes next.
func (w *mallocWorker) sh(n int) error {
	random, sizes, live := w.random, w.sizes, w.live
	sum, weight, box := w.sum, w.weight, &w.common.box
	if w.spec.Kind == workload.SH6 {
		box = &w.own
	}
	for done := 0; done < n; done += w.spec.Batch {
		for _, half := range [2][]ref{*w.parcel, live} {
			for i := range half {
				size := sizes[random.Draw(uint32(len(sizes)))]
				p, err := slub.Malloc(int(size))
				if err != nil {
					return err
				}
				touch(p, int(random)+int(size))
				half[i] = refOf(p)
			}
		}
		for i := len(live) - 1; i >= 0; i-- {
			sum = sum*weight + take(pointer(live[i]))
			live[i] = ref{}
		}
		w.parcel = box.exchange(w.parcel)
		parcel := *w.parcel
		for i, r := range parcel {
			sum = sum*weight + take(pointer(r))
			parcel[i] = ref{}
		}
	}
	w.random, w.sum = random, sum
	return nil
}
