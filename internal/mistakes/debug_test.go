package mistakes

// debugging are mistakes in what a debug cache writes beside objects, and looks at.
var debugging = []mistake{
	{"ZonesBeforeLock", "an object that is freed gets its red zones before its lock is held",
		test{pkg: "slub", pattern: `^TestKunitNolockAtAnyInstruction$`}, `red zone overwritten|write after free`, `
slub/cache_debug.go
-	d.mu.Lock()
-	if d.has(debug.Consistency) {
-		c.inspectUsed(p)
+	d.layout.Free(obj)
+	time.Sleep(time.Microsecond)
+	d.mu.Lock()
+	if false {
+		c.inspectUsed(p)
`},
	{"ClearedTooEarly", "InitOnFree clears a red zone before the object is inspected",
		test{pkg: "slub", pattern: `^TestDebugMalloc$`}, `kmalloc Redzone overwritten`, `
slub/cache_debug.go
-	d.mu.Lock()
-	if d.has(debug.Consistency) {
-		c.inspectUsed(p)
+	d.mu.Lock()
+	if c.config.Flags&InitOnFree != 0 {
+		c.wipe(p)
+	}
+	if d.has(debug.Consistency) {
+		c.inspectUsed(p)
`},
	{"AllocationReportsAll", "a Malloc makes the reports of others while only it has the object",
		test{pkg: "slub", pattern: `^TestDebugReportsLoseNoObject$`}, `objects in use`, `
slub/malloc.go
-	c.limitDebug(p, uintptr(n))
+	c.limitDebug(p, uintptr(n))
+	c.reportFound()
`},
	{"NextSlabsMarkReset", "a new slab resets the mark of the first object of the slab behind it",
		test{pkg: "slub/internal/slab", pattern: `^TestMarksOfNeighbouringSlabs$`}, `has lost its mark`, `
slub/internal/slab/marktable.go
-	mem.Zero(mem.Addr(first), (r.Bytes()-1)>>t.shift+1)
+	mem.Zero(mem.Addr(first), r.Bytes()>>t.shift+1)
`},
	{"WrittenObjectLost", "an allocation whose report panics keeps the object",
		test{pkg: "slub", pattern: `^TestDebugAction$`}, `1 in use`, `
slub/cache_debug.go
-			if ok {
+			if false {
`},
	{"RequestForgotten", "what a Realloc gives back is no red zone",
		test{pkg: "slub", pattern: `^TestKunitKreallocRedzoneZeroing$`}, `want 0xcc`, `
slub/malloc_realloc.go
-		c.limitDebug(p, n)
+		if n > room {
+			c.limitDebug(p, n)
+		}
`},
	{"LeavesUnseen", "an object that leaves the quarantine is not looked at",
		test{pkg: "slub", pattern: `^TestQuarantineFindsLateUse$`}, `want a write to`, `
slub/cache_debug_quarantine.go
-		c.leaveQuarantine(objs)
`},
	{"YoungestLeaves", "the object that was freed last leaves the quarantine first",
		test{pkg: "slub", pattern: `^TestQuarantineIsBoundedAndInOrder$`}, `wait, want`, `
slub/cache_debug_quarantine.go
-		leaving = append(leaving, mem.Ptr(q.objs[q.first]))
-		q.first++
+		last := len(q.objs) - 1
+		leaving = append(leaving, mem.Ptr(q.objs[last]))
+		q.objs = q.objs[:last]
`},
	{"WaitsForGood", "an object that is freed after Close waits in the quarantine for good",
		test{pkg: "slub", pattern: `^TestQuarantineEnds$`}, `wait in a closed cache`, `
slub/cache_debug_quarantine.go
-	q.shut = q.shut || shut
`},
	{"TrackUnseen", "what a debug cache keeps behind the red zone is not looked at",
		test{pkg: "slub", pattern: `^TestDebugEveryByteOfASlot$`}, `reports \[\] of`, `
slub/internal/debug/object.go
-			if o, ok := lookSealed(name, at, at+trackSize, 0); !ok {
+			if o, ok := lookSealed(name, at, at, 0); !ok {
`},
	{"FreeTrackHealed", "the free writes over a track that was overwritten before",
		test{pkg: "slub", pattern: `^TestDebugEveryByteOfASlot$`}, `reports \[\] of`, `
slub/internal/debug/track.go
-	if _, ok := l.track(obj, 1); ok {
-		l.setTrack(obj, 1, t)
-	}
+	l.setTrack(obj, 1, t)
`},
	{"LargeLeavesUnseen", "a large object that has waited is not looked at before its pages go back",
		test{pkg: "slub", pattern: `^TestDebugLargeWriteAfterFree$`}, `want a write to`, `
slub/malloc_large_debug.go
-		d.keepLocked(d.inspect(d.objs[l.addr]))
`},
	{"LargeWaitsForGood", "large objects wait although memory is short",
		test{pkg: "slub", pattern: `^TestDebugLargeWaitsWhileMemoryIsShort$`}, `out of memory`, `
slub/malloc_large.go
-	return objects + b.emptyLarge(false)
+	return objects
`},
	{"LargeStaysKnown", "Validate looks at a large object whose pages have gone back",
		test{pkg: "slub", pattern: `^TestDebugLargeWaits$`}, `are known`, `
slub/malloc_large_debug.go
-		delete(d.objs, l.addr)
-		leaving = append(leaving, l)
+		leaving = append(leaving, l)
`},
}
