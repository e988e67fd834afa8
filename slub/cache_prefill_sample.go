package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
)

// The objects of a Prefilled are drawn for the allocation profile when they are lent, each once:
// Prefilled.Alloc has no count of its own, and one would make it slower. So they are in the profile
// from Prefill or Refill on, at the line that called it, and those that were not taken until Return
// or the next Refill. That is what Hooks and Stats.InUse say of them, too. A sample lies in the
// array like the others, but goes back to its slab, never into a sheaf. What Prefilled.Free puts
// back and Alloc takes again is not drawn again.

// sample replaces objects of a new loan that are picked by samples. If a constructor doesn't
// return, the loan ends.
func (p *Prefilled) sample(objs []unsafe.Pointer) {
	if p.cache.sampler == nil {
		return
	}
	first := p.cache.sampler.nextPick(p.cache.layout.slot)
	if first.gap >= len(objs) {
		return
	}
	callback.Guard(func() { p.samples = p.cache.substitute(objs, first, p.loan.Node()) }, func() { p.end(p.lent-uint(len(objs)), objs, nil) })
}

// withdraw takes the samples out of objs, the objects that are left, moves the others to the front
// and returns their number.
func (p *Prefilled) withdraw(objs []unsafe.Pointer) (left int, samples []unsafe.Pointer) {
	if p.samples == 0 {
		return len(objs), nil
	}
	p.samples = 0
	for _, obj := range objs {
		if p.cache.isAlone(obj) {
			samples = append(samples, obj)
			continue
		}
		objs[left] = obj
		left++
	}
	return left, samples
}

// flushSamples frees what withdraw has returned. It counts as what leaves a sheaf for its slab.
func (c *Cache) flushSamples(samples []unsafe.Pointer) {
	if len(samples) > 0 {
		c.count(SheafFlush, len(samples))
		c.slabs.FreeBulk(samples)
	}
}
