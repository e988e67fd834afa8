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
	if l, ok := b.claimOrReport(p); ok {
		b.releaseLarge(l)
	}
}

// freeLargeAfterGrace is FreeRCU, or a variant that waits as w says, for pointers that no cache
// owns. Page runs and mappings go to the queue: they are too few, and each is too large, to gather
// in sheaves.
func (b *Buckets) freeLargeAfterGrace(p unsafe.Pointer, w backlog.Wait) {
	if l, ok := b.claimOrReport(p); ok {
		b.freeQueue.Add(p, 0, int64(l.bytes), w)
	}
}

// claimOrReport is claim with a report if p is not the start of an object in use. nil and the
// address of no bytes are not reported.
func (b *Buckets) claimOrReport(p unsafe.Pointer) (l large, ok bool) {
	if isNothing(p) {
		return large{}, false
	}
	if l, ok = b.claim(p); !ok {
		b.refuse(p)
	}
	return l, ok
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

// releaseLarge frees a claimed object, even if its hook doesn't return.
func (b *Buckets) releaseLarge(l large) {
	b.unchargeLarge(l)
	limitObject(mem.Ptr(l.addr), l.bytes, l.bytes) // for the hook, and to be cleared
	if h := b.hooking.now.Load(); h.Free != nil {
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
}

// scrubLarge gives the pages back, zeroed if that is asked for.
func (b *Buckets) scrubLarge(l large) {
	if b.config.Flags&InitOnFree != 0 {
		mem.Zero(l.addr, l.bytes)
	}
	b.discardLarge(l)
}

// discardLarge gives the pages back. It removes the record first: once the arena has the pages it
// may give them to another goroutine.
func (b *Buckets) discardLarge(l large) {
	b.forgetLarge(l)
	b.large.remove(l.bytes)
	if l.mapped {
		b.large.mappings.remove(l.bytes)
	}
	defer b.config.Group.uncharge(int64(l.bytes))
	if !l.mapped {
		b.arena.Free(l.page)
		return
	}
	b.large.mu.Lock()
	delete(b.large.mine, l.addr)
	b.large.mu.Unlock()
	b.arena.Unmap(l.addr)
}

func (b *Buckets) largeObject(l large) hooks.Object {
	return hooks.Object{Cache: b.config.name() + "-large", Addr: l.addr, Size: int64(l.bytes), Node: b.arena.NodeOf(l.addr)}
}
