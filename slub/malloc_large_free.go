package slub

import (
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/mem"
)

// freeLarge is Free for pointers that no cache owns.
func (b *Buckets) freeLarge(p unsafe.Pointer) {
	if l, ok := b.claimOrReport(p, true); ok {
		l.freeing = true
		b.releaseLarge(l)
	}
}

// freeLargeAfterGrace is FreeRCU, or a variant that waits as w says, for pointers that no cache
// owns. Page runs and mappings go to the queue: they are too few, and each is too large, to gather
// in sheaves.
func (b *Buckets) freeLargeAfterGrace(p unsafe.Pointer, w backlog.Wait) {
	if l, ok := b.claimOrReport(p, true); ok {
		b.freeQueue.Add(p, 0, int64(l.bytes), w)
	}
}

// claimOrReport is claim with a report if p is not the start of an object in use. nil and the
// address of no bytes are not reported. stack says that it may wait, to keep the call stack.
func (b *Buckets) claimOrReport(p unsafe.Pointer, stack bool) (l large, ok bool) {
	if isNothing(p) {
		return large{}, false
	}
	if l, ok = b.claim(p); !ok {
		b.refuse(p)
		return large{}, false
	}
	b.noteLargeFree(l, stack)
	return l, true
}

// refuse reports a pointer that these Buckets did not return.
func (b *Buckets) refuse(p unsafe.Pointer) { b.refuseAs(p, explain(p)) }

// refuseAs is refuse for a pointer that is explained.
func (b *Buckets) refuseAs(p unsafe.Pointer, info pointerInfo) {
	r := info.report(b.config.name(), p)
	if l, freed := b.largeAt(p); freed {
		r.Kind, r.Owner, r.Detail = hooks.DoubleFree, "", saysGiven
		r.Freed = b.largeFreedBy(p)
		if d := b.large.debug; d != nil {
			d.describeFreed(l.addr, r)
		}
	} else if info.buckets == b {
		r.Kind, r.Owner = hooks.MisalignedPointer, ""
	}
	sayClosed(r, "the buckets are", b.closed.Load())
	addHistory(r)
	b.fire(r)
}

// fire makes a report; of debug Buckets it then does what BucketsConfig.DebugAction says.
func (b *Buckets) fire(r *hooks.Report) {
	h := b.hooking.now.Load()
	if h == nil { // the zero Buckets, which own nothing
		h = noHooks
	}
	defer runtime.KeepAlive(h)
	if d := b.large.debug; d != nil {
		d.act(h, r)
		return
	}
	r.Fire(&h.Hooks)
}

// reclaimLarge destroys and frees objects whose grace period is over. They were claimed when they
// were given to FreeRCU. As in source.destroy, nothing is lost if a destructor does not return.
func (b *Buckets) reclaimLarge(objs []unsafe.Pointer) {
	for len(objs) > 0 {
		l, ok := b.largeAt(objs[0])
		objs = objs[1:]
		if !ok {
			continue
		}
		callback.Guard(func() {
			if b.config.RCUDtor != nil {
				callback.Run(b.config.RCUDtor, mem.Ptr(l.addr))
			}
		}, func() {
			defer b.releaseLarge(l)
			b.putBackLarge(objs)
		})
		callback.Guard(func() { b.releaseLarge(l) }, func() { b.putBackLarge(objs) })
	}
}

// putBackLarge gives objects to the queue for which nothing has been done after their grace period.
func (b *Buckets) putBackLarge(objs []unsafe.Pointer) {
	for _, p := range objs {
		if l, ok := b.largeAt(p); ok {
			b.freeQueue.PutBack(p, 0, int64(l.bytes))
		}
	}
	b.freeQueue.Arm() // the goroutine that was reclaiming has not finished
}

// releaseLarge frees a claimed object, even if its hook doesn't return. Of debug Buckets it then
// makes the reports about what was found.
func (b *Buckets) releaseLarge(l large) {
	b.delay()
	b.unchargeLarge(l)
	limitObject(mem.Ptr(l.addr), l.bytes, l.bytes) // for the hook, and to be cleared
	if h := b.hooking.now.Load(); h.Free != nil {
		b.limitLarge(l, l.bytes) // what its user has overwritten is found before
		keep := false
		callback.Guard(
			func() { keep = callback.Ask(h.Free, b.largeObject(l)) },
			func() { b.scrubLarge(l) })
		runtime.KeepAlive(h)
		if keep {
			b.unclaim(l)
			return
		}
	}
	b.scrubLarge(l)
	b.reportLargeFound()
}

// scrubLarge gives the pages back, zeroed if that is asked for. Those of debug Buckets may wait.
func (b *Buckets) scrubLarge(l large) {
	if b.large.debug != nil {
		b.endLarge(l)
		return
	}
	if b.config.Flags&InitOnFree != 0 {
		mem.Zero(l.addr, l.bytes)
	}
	b.discardLarge(l)
}

// discardLarge gives the pages back. It removes the record first: once the arena has the pages it
// may give them to another goroutine.
func (b *Buckets) discardLarge(l large) {
	b.endUse(l)
	b.returnPages(l)
}

// endUse counts an object as free.
func (b *Buckets) endUse(l large) {
	b.forgetLarge(l)
	b.large.remove(l.bytes)
	if l.mapped {
		b.large.mappings.remove(l.bytes)
	}
}

// returnPages gives back the pages of an object that counts as free.
func (b *Buckets) returnPages(l large) {
	defer b.config.Group.uncharge(b.taken(l))
	if !l.mapped {
		b.arena.Free(l.page)
		return
	}
	b.large.mu.Lock()
	delete(b.large.mine, l.addr)
	b.large.mu.Unlock()
	b.arena.Unmap(b.base(l))
}

func (b *Buckets) largeObject(l large) hooks.Object {
	return hooks.Object{Cache: b.config.name() + "-large", Addr: l.addr, Size: int64(l.bytes), Node: b.arena.NodeOf(l.addr)}
}
