package mistakes

// locals are mistakes in the array of objects that a goroutine keeps to itself.
var locals = []mistake{
	{"LocalGivesTwice", "a Local gives back an object twice",
		test{pkg: "slub", pattern: `^TestLocal$`}, `given twice`, `
slub/local_slow.go
-	return s.cache.returnLocal(objs)
+	s.cache.returnLocal(objs)
+	return s.cache.returnLocal(objs[:min(1, len(objs))])
`},
	{"LocalUnchecked", "a Local keeps whatever it is given",
		test{pkg: "slub", pattern: `^TestLocalFreeChecks$`}, `reports \[\], want`, `
slub/local.go
-	if n < s.high && s.filter.Owns(p, s.own) {
+	if n < s.high {
`},
	{"LocalGivesToWrongNode", "what a Local gives back goes to its goroutine's node, whatever its own is",
		test{pkg: "slub", pattern: `^TestLocalOfMixedNodes$`}, `of them remote`, `
slub/local_slow.go
-	front := c.free.Prefix(objs, local)
+	front := len(objs)
`},
	{"LocalMovesCounted", "objects that a Local takes from the sheaves count as allocated",
		test{pkg: "slub", pattern: `^TestLocal$`}, `in use`, `
sheaves/local.go
-func (s *Set) Take(dst []unsafe.Pointer) int { return s.popBulk(dst, false) }
+func (s *Set) Take(dst []unsafe.Pointer) int { return s.popBulk(dst, true) }
`},
	{"LocalHalfClosed", "a Local that is just being asked to give back takes more objects on top of those that it holds",
		test{pkg: "slub", pattern: `^TestLocalHalfRefused$`}, `still in use`, `
slub/local_state.go
-	return atomic.LoadUint64(&s.low) != localOpen || atomic.LoadUint64(&s.high) == 0
+	return atomic.LoadUint64(&s.high) == 0
`},
	{"LocalStaysOpen", "a Local opens its fast path although its cache is closed",
		test{pkg: "slub", pattern: `^TestLocalAskedMeanwhile$`}, `the fast path of a closed cache is open`, `
slub/local_state.go
-	if s.cache.closed.Load() || s.cache.hooked() {
+	if s.cache.hooked() {
`},
	{"OldestGiven", "a full Local gives back the objects that came first",
		test{pkg: "slub", pattern: `^TestLocalKeepsTheOldest$`}, `it holds`, `
slub/local_slow.go
-	objs := s.slots()[s.len()-n : s.len()]
+	objs := append([]unsafe.Pointer(nil), s.slots()[:n]...)
+	copy(s.slots(), s.slots()[n:s.len()])
`},
}
