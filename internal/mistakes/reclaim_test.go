package mistakes

// reclaiming are mistakes in what an allocation does before it fails, and in what closed caches
// leave to new ones.
var reclaiming = []mistake{
	{"GiveBackUncounted", "Close doesn't wait for what a round has taken from the sheaves",
		test{pkg: "sheaves", pattern: `^TestCloseWaitsForGiveBack$`}, `Close returned while`, `
sheaves/idle.go
-	at := s.reclaiming.enter()
-	defer s.reclaiming.leave(at)
`},
	{"UselessScanned", "a shrinker that has freed nothing is called at every failure",
		test{pkg: "slub", pattern: `^TestUselessShrinker$`}, `scans, want`, `
arena/shrinker.go
-	if n <= 0 || n == s.useless && time.Since(s.since) < maxUseless {
+	if n <= 0 {
`},
	{"LeaseEndsAtOnce", "the number and cells of a closed cache are used again at once",
		test{pkg: "slub", pattern: `^TestClosedCacheKeepsItsNumber$`}, `another cache has number`, `
slub/cache_lease.go
-func (l *lease) end() { runtime.AddCleanup(l, lease.recycle, *l) }
+func (l *lease) end() { l.recycle() }
`},
	{"ClaimedTwice", "an object of a page class is freed by every goroutine that finds it in use",
		test{pkg: "slub", pattern: `^TestLargeClaimed$`}, `reports \[`, `
slub/internal/slab/marks.go
-	return word != 0 && uintptr(p)%mem.PageSize == 0 && atomic.CompareAndSwapUint32(s.mark(p), word, 0)
+	return word != 0 && uintptr(p)%mem.PageSize == 0 && atomic.LoadUint32(s.mark(p)) == word
`},
	{"KeptIsFree", "an object of a page class that a hook keeps stays marked as free",
		test{pkg: "slub", pattern: `^TestLargeClaimed$`}, `reports \[`, `
slub/cache_instrument.go
-	if keep && c.marks != nil {
+	if false {
`},
	{"RetiredTooLate", "a slab that is retired while a callback is queued doesn't wait for the next one",
		test{pkg: "slub/internal/slab", pattern: `^TestRetiredSlabsWaitForTheirGracePeriod$`}, `want 0 slabs and 2 retired`, `
slub/internal/slab/retire.go
-		r.next, kind.fresh = kind.fresh, r.link()
+		r.next, kind.aging = kind.aging, r.link()
`},
	{"LiveInBarns", "Live takes the objects of full sheaves in the barns for objects in use",
		test{pkg: "slub", pattern: `^TestLive$`}, `Live yields \d+ objects, want`, `
sheaves/held.go
-	b.full.all(func(sh *sheaf) { dst = append(dst, sh.objects()...) })
+		b.full.all(func(sh *sheaf) {})
`},
	{"AloneNotReused", "a sample of a TypesafeByRCU cache never uses the slab of one before again",
		test{pkg: "slub/internal/slab", pattern: `^TestAloneIsUsedAgain$`}, `the one before was at`, `
slub/internal/slab/alone.go
-	if p := s.unretireAlone(&s.nodes[node]); p != nil {
-		return p, nil
-	}
`},
	{"RetiredForgotten", "Close waits for the first callback of retired slabs only",
		test{pkg: "slub", pattern: `^TestTypesafeCloseWaitsForAll$`}, `slabs are retired`, `
slub/cache_close.go
-	for c.slabs.Retired() > 0 {
+	if c.slabs.Retired() > 0 {
`},
	{"SheavesOfOthersFirst", "a CPU gets any sheaf from the barn, although one of its own is there",
		test{pkg: "sheaves", pattern: `^TestSheavesComeHome$`}, `the CPUs have put in`, `
sheaves/shards.go
-	i := shard()
+	i := 0
`},
	{"ReusedIsIdle", "a sheaf that was taken from the barn and put back counts as idle",
		test{pkg: "sheaves", pattern: `^TestShardedListIdle$`}, `idle is`, `
sheaves/shards.go
-	l.least[i] = min(l.least[i], l.of[i].n)
`},
	{"HugeAgain", "the kernel may put a huge page in the place of memory that was given back",
		test{pkg: "arena", pattern: `^TestHugePagesUndoNoPurge$`}, `[1-9]\d* huge pages were made`, `
arena/purge.go
-	a.keepSmall(z, page, order)
`},
	{"SmallForGood", "memory that is used for the first time gets no huge page since some was given back",
		test{pkg: "arena", pattern: `^TestHugePagesUndoNoPurge$`}, ` 0 huge pages later`, `
arena/purge.go
-	end := z.bump
+	end := z.end
`},
}
