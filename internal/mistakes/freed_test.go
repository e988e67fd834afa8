package mistakes

// freed are mistakes in what keeps objects and counts right when something is freed in a way that
// it should not be.
var freed = []mistake{
	{"LargeClaimedTwice", "two goroutines that free one page run at once both free it",
		test{pkg: "slub", pattern: `^TestLargeFreedAtOnce$/^run,_Free$`}, `panic|reports, `, `
slub/malloc_large.go
 	"sync/atomic"
+	"time"
slub/malloc_large.go
-	if !b.arena.SwapOwner(l.page, word, word|owner.Freed) {
-		return large{}, false
-	}
+	time.Sleep(time.Millisecond)
+	b.arena.SwapOwner(l.page, word, word|owner.Freed)
slub/malloc_large.go
-	return now, ok
+	time.Sleep(time.Millisecond)
+	return now, ok
`},
	{"UnpreparedSlabKept", "a slab whose constructor does not return stays",
		test{pkg: "slub", pattern: `^TestCallbackThatDoesNotReturn$`}, `are still in use`, `
slub/internal/slab/grow.go
-	"github.com/slubd/slubd/internal/callback"
slub/internal/slab/grow.go
-		callback.Guard(func() { s.onNewSlab(r) }, func() { s.giveBack(r, 0) })
+		s.onNewSlab(r)
`},
	{"RestStoredLate", "a drain notes what is left of its list when it has called the hooks",
		test{pkg: "slub", pattern: `^TestCallbackThatDoesNotReturn$`}, `are still in use|Stats says`, `
slub/cache_deferred.go
-		d.rest.Store(obj)
 		c.freeBatch(batch[:n], broken)
+		d.rest.Store(obj)
`},
	{"FreedUnclaimed", "a free of a hardened cache looks at the mark, and leaves it as it is",
		test{pkg: "slub", pattern: `^TestEveryDoubleFreeIsFound$`}, `not found`, `
slub/internal/slab/marktable.go
-		if was = Mark(old >> bit); (was == InUse) != held ||
+		if was = Mark(old >> bit); (was == InUse) != held || held ||
`},
	{"LinkTrusted", "a hardened cache takes whatever lies over a free pointer for one",
		test{pkg: "slub", pattern: `^TestWriteAfterFreeIsFound$`}, `not found`, `
slub/cache_hardened.go
-		if c.slabs.SoundLink(obj) {
+		if true {
`},
	{"WrongDestroyed", "what lies in a sheaf after a grace period gets the destructor, whatever it is",
		test{pkg: "slub", pattern: `^TestOverwrittenSheafOfFreeRCU$`}, `reports \[\]|destroyed were|panic|fault`, `
slub/cache_source.go
-	if n, wrong := c.objects(objs); n < len(objs) {
+	if n, wrong := len(objs), []uintptr(nil); n < len(objs) {
`},
	{"WrongFlushed", "a flush takes whatever lies in a sheaf for an object",
		test{pkg: "slub", pattern: `^TestOverwrittenSheaf$/^Shrink$`}, `reports \[|panic|fault`, `
slub/cache_sheafcheck.go
-	n, wrong := c.objects(objs)
+	n, wrong := len(objs), []uintptr(nil)
`},
	{"AddressKept", "an allocation has what it took from a sheaf as a pointer while it is reported",
		test{pkg: "slub", pattern: `^TestStackGrowsInReportOfSheaf$`}, `invalid pointer found on stack`, `
slub/cache_sheafcheck.go
-		if p, ok := c.look(p); ok {
+		if _, ok := c.look(p); ok {
`},
	{"FreedInReport", "FreeBulk has a pointer that it refuses in a variable while it reports it",
		test{pkg: "slub", pattern: `^TestStackGrowsInReportOfPointer$`}, `invalid pointer found on stack`, `
slub/cache_bulk.go
-			o := c.ownerOrReport(ps[front])
 			p := ps[front] // after a report, as in look
+			o := c.ownerOrReport(p)
`},
	{"LocalForgets", "Local.Free forgets its object if a report about what it flushes does not return",
		test{pkg: "slub", pattern: `^TestLocalReportThatPanics$`}, `objects of \d+ slabs have come back`, `
slub/local_slow.go
-		}, func() { c.FreeDeferred(p) })
+		}, func() {})
`},
	{"PutForgets", "a sheaf that takes what a Local held forgets the rest if a report does not return",
		test{pkg: "slub", pattern: `^TestLocalReportThatPanics$`}, `objects of \d+ slabs have come back`, `
sheaves/local.go
-	}, func() { s.flush(objs[put:]) })
+	}, func() {})
`},
	{"SpareForgotten", "a flush whose report does not return forgets the CPU's spare",
		test{pkg: "slub", pattern: `^TestOverwrittenSheafOfMany$`}, `still in use`, `
sheaves/idle.go
-	callback.Each([]*sheaf{main, spare, empty}, func(sh *sheaf) {
-		if sh != nil {
-			objects += int(sh.size)
-			c.set.discard(sh)
-		}
-	})
+	for _, sh := range []*sheaf{main, spare, empty} {
+		if sh != nil {
+			objects += int(sh.size)
+			c.set.discard(sh)
+		}
+	}
+	callback.Each(nil, func(*sheaf) {})
`},
	{"FenceStays", "the page behind a slab has no access when it goes back to the arena",
		test{pkg: "slub", pattern: `^TestFences$`}, `SIGSEGV|unexpected fault address`, `
slub/internal/slab/fence.go
-	if sys.Protect(s.arena.Addr(page)+uintptr(pages)*mem.PageSize, mem.PageSize, sys.ReadWrite) != nil {
-		return false
-	}
`},
	{"InUseFollowsQueue", "the count of objects in use follows what waits, which a reclaim changes",
		test{pkg: "slub", pattern: `^TestInUseWhileReclaiming$`}, `readings from`, `
slub/cache_stats.go
-		uint64(c.freeQueue.Given()) + uint64(c.deferFree.given.Load())
+		uint64(c.freeQueue.Pending()) + uint64(c.deferFree.given.Load())
`},
	{"MarksInexact", "a free in Go code compares a mark and changes it in two steps",
		test{pkg: "slub/internal/slab", pattern: `^TestMarksAtOnce$/^marks$`}, `more claims than uses`, `
slub/internal/slab/marktable.go
-			atomic.CompareAndSwapUint32(word, old, old&^(0xff<<bit)|uint32(to)<<bit) {
+			func() bool { atomic.StoreUint32(word, old&^(0xff<<bit)|uint32(to)<<bit); return true }() {
`},
	{"ExtsInexact", "a free of an object with an Ext compares the mark and changes it in two steps",
		test{pkg: "slub/internal/slab", pattern: `^TestMarksAtOnce$/^exts$`}, `more claims than uses`, `
slub/internal/slab/exttable.go
-		if now == was || atomic.CompareAndSwapUint64(word, uint64(was), uint64(now)) {
+		if now == was || func() bool { atomic.StoreUint64(word, uint64(now)); return true }() {
`},
	{"UncountedTooEarly", "an object leaves the sum of its call site before its destructor is called",
		test{pkg: "slub", pattern: `^TestFreeRCUOrder$`}, `destructor: bytes of its user, counted: false`, `
slub/cache_source.go
-	if c.config.RCUDtor != nil || sanitized {
+	for _, p := range objs {
+		c.uncharge(p)
+	}
+	if c.config.RCUDtor != nil || sanitized {
`},
	{"DestroyedTooLate", "the destructor is called after the Free hook",
		test{pkg: "slub", pattern: `^TestFreeRCUOrder$`}, `hook: bytes of its user, counted: false; destructor`, `
slub/cache_source.go
-	if c.config.RCUDtor != nil || sanitized {
-		c.destroy(objs)
-	}
slub/cache_source.go
-	if free < len(objs) {
+	if c.config.RCUDtor != nil || sanitized {
+		c.destroy(objs)
+	}
+	if free < len(objs) {
`},
	{"ClearedBeforeHook", "InitOnFree clears an object before its Free hook is called",
		test{pkg: "slub", pattern: `^TestFreeRCUOrder$`}, `hook: bytes of nothing known`, `
slub/cache_instrument.go
-			if c.keeps(h, p) {
-				continue
-			}
-			scrub(p)
+			scrub(p)
+			if c.keeps(h, p) {
+				continue
+			}
`},
	{"LargeUncountedLate", "a large object is charged to its Account, or counted for its call site, while its hook is called",
		test{pkg: "slub", pattern: `^TestFreeRCUOrderOfBuckets$`}, `hook: bytes of the destructor, counted: true`, `
slub/malloc_large_free.go
-	b.unchargeLarge(l)
 	limitObject(mem.Ptr(l.addr), l.bytes, l.bytes) // for the hook, and to be cleared
slub/malloc_large_free.go
-	if b.config.Flags&InitOnFree != 0 {
+	b.unchargeLarge(l)
+	if b.config.Flags&InitOnFree != 0 {
`},
	{"GoneUninspected", "the free objects of a slab that goes back are not looked at",
		test{pkg: "slub", pattern: `^TestStaleWriteIsFoundAtTheEnd$`}, `want a write to`, `
slub/internal/slab/isolate.go
-	clean = s.inspect == nil || s.inspectAll(r)
+	clean = true
`},
	{"BehindLinkUnseen", "the look at a free object of a slab that goes back ends at its link",
		test{pkg: "slub", pattern: `^TestStaleWriteIsFoundAtTheEnd$`}, `want a write to`, `
slub/cache_hardened_slab.go
-	if !ok && fp+freePtrSize < size {
-		at, ok = written(obj, fp+freePtrSize, size)
-	}
`},
	{"StaleNotCounted", "a slab that goes back does not count if one of its free objects was written to",
		test{pkg: "slub", pattern: `^TestStaleWriteGivesBack$`}, `of 3 slabs went back`, `
slub/internal/slab/isolate.go
-	s.giveBack(r, r.objects)
-	return true, clean
+	s.giveBack(r, r.objects)
+	return clean, clean
`},
	{"StaleKeptForClose", "what Shrink finds in a free object is left to Close",
		test{pkg: "slub", pattern: `^TestStaleWriteThatShrinkFinds$`}, `Shrink panics with`, `
slub/cache_damage.go
-	if d.Stale && c.groupClosed.Load() {
+	if d.Stale {
`},
}
