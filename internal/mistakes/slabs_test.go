package mistakes

// slabs are mistakes in the counts that Stats reads in place of a walk over the slabs, and in which
// node objects come from and go to.
var slabs = []mistake{
	{"RestUncounted", "the rest of a chain that goes back to its slab is not counted",
		test{pkg: "slub/internal/slab", pattern: `^TestFreeObjectsAreCounted$`}, `free objects are counted, want`, `
slub/internal/slab/partial.go
-			s.countFree(r.node, back)
`},
	{"DoubleFreeCounted", "an object that is freed twice counts as two free objects",
		test{pkg: "slub/internal/slab", pattern: `^TestFreeObjectsAreCounted$`}, `free objects are counted, want`, `
slub/internal/slab/free.go
-	freed = int(st.inuse - after.inuse)
+	freed = n
`},
	{"OthersFirst", "a refill takes other nodes' free objects before it makes a slab of its own",
		test{pkg: "slub/internal/slab", pattern: `^TestTakeIsLocal$`}, `the nodes gave`, `
slub/internal/slab/take.go
-	if !found.any() && got < len(dst) && len(others) > 0 && s.reachesOut() {
+	if !found.any() && got < len(dst) && len(others) > 0 {
`},
	{"RemoteForgotten", "Barrier leaves out what CPUs keep of other nodes",
		test{pkg: "sheaves", pattern: `^TestRemoteFreeRCUAtBarrier$`}, `0 objects were reclaimed`, `
sheaves/remote.go
-	for rank := range s.byRank {
+	for rank := range s.byRank[:0] {
`},
	{"RemoteReachesOut", "a sheaf for another node's objects gets those of any node",
		test{pkg: "sheaves", pattern: `^TestAllocRemoteNode$`}, `objects of other nodes`, `
sheaves/alloc.go
-	if !c.set.fillTo(empty, portion(empty), node, c.isRemote, c.set.discard) {
+	if !c.set.fillTo(empty, portion(empty), node, false, c.set.discard) {
`},
	{"MovedTwice", "what a sheaf gives away also stays in it",
		test{pkg: "sheaves", pattern: `^TestSpareKeepsOrder$`}, `objects of \d+ in the spare: (main|the spare) has`, `
sheaves/spare.go
-	from.size = uint32(rest)
`},
	{"ColdestMoved", "main gets back the coldest objects of a full sheaf",
		test{pkg: "sheaves", pattern: `^TestSpareKeepsOrder$`}, `Free, \d+ objects of \d+ in the spare: main has`, `
sheaves/spare.go
-	copy(to.slots()[to.size:], from.slots()[rest:from.size])
+	copy(to.slots()[to.size:], from.slots()[:n])
+	copy(from.slots(), from.slots()[n:from.size])
`},
	{"WholeSheafRefilled", "an Alloc fills a whole sheaf from slabs",
		test{pkg: "sheaves", pattern: `^TestPortions$`}, `objects came from the Source, want`, `
sheaves/alloc.go
-	if !c.set.fillTo(empty, portion(empty), node, c.isRemote, c.set.discard) {
+	if !c.set.fill(empty, node, c.isRemote, c.set.discard) {
`},
	{"PortionKept", "what a Free gives back of a sheaf also stays in it",
		test{pkg: "sheaves", pattern: `^TestPortions$`}, `objects went to the Source, want`, `
sheaves/flush.go
-	sh.size = uint32(rest)
-	callback.Guard(func() { s.flush(objs) }, func() { s.putInBarn(sh, b) })
+	callback.Guard(func() { s.flush(objs) }, func() { s.putInBarn(sh, b) })
`},
	{"BarnOverfilled", "a Free that is interrupted puts its full spare into a full barn",
		test{pkg: "sheaves", pattern: `^TestInterruptedFreesDontFillTheBarn$`}, `full sheaves, and keeps`, `
sheaves/free.go
-		if sh.size > 0 && b.fulls() >= c.set.MaxFull() {
+		if false {
`},
	{"NoMargin", "main is full when it has turned to a full spare",
		test{pkg: "sheaves", pattern: `^TestBalanceStaysInMain$`}, `needed the spare`, `
sheaves/spare.go
-	if int(spare.size) <= int(spare.limit)-few {
+	if int(spare.size) <= int(spare.limit) {
`},
	{"InstalledAfterClose", "a stack that Close has left alone gets a sheaf",
		test{pkg: "sheaves", pattern: `^TestInstallOnClosedSet$`}, `a sheaf was installed`, `
sheaves/cpusheaves.go
-	return !c.set.closed.Load()
+	return true
`},
	{"UnusedSkipped", "SetCapacity passes over a stack that looks unused while an operation gives it a sheaf",
		test{pkg: "sheaves", pattern: `^TestSetCapacityLocksUnusedStacks$`}, `a stack's lock was not taken`, `
sheaves/resize.go
-		c.emptyCPU(cpu) // the stack is unused afterwards
+		if !c.unused(cpu, percpu.Main) {
+			c.emptyCPU(cpu)
+		}
`},
	{"UsedUnknown", "a CPU gets its first sheaf before its node is known",
		test{pkg: "sheaves", pattern: `^TestAddedCPUStaysUnused$`}, `is in use`, `
sheaves/first.go
-func (c *cpuSheaves) mayUse(cpu int) bool { return c.set.homes.Known(cpu) && !c.set.closed.Load() }
+func (c *cpuSheaves) mayUse(cpu int) bool { return !c.set.closed.Load() }
`},
	{"FoundElsewhere", "the node of the CPU that a thread has moved to is noted for the one that it comes from",
		test{pkg: "internal/percpu", pattern: `^TestNodesFoundElsewhere$`}, `known`, `
internal/percpu/nodeof.go
-	n.NodeOf[at].CompareAndSwap(uint32(n.fallback)|unknown, uint32(i))
+	n.NodeOf[cpu].CompareAndSwap(uint32(n.fallback)|unknown, uint32(i))
`},
	{"ReturnedAbroad", "a prefilled sheaf becomes the spare of another node's CPU",
		test{pkg: "sheaves", pattern: `^TestReturnOnAnotherNode$`}, `CPU 1 has`, `
sheaves/prefill.go
-	if st.Spare != 0 || st.Own() != s.owners[l.node] || s.staleCapacity(l.sh) {
+	if st.Spare != 0 || st.Cap() == 0 || s.staleCapacity(l.sh) {
`},
	{"LastOnesKept", "an allocation fails while another node has its last partial slabs",
		test{pkg: "slub/internal/slab", pattern: `^TestRemoteDefragRatio$`}, `an allocation has failed while node`, `
slub/internal/slab/take.go
-	for _, i := range others {
+	for _, i := range others[:0] {
 		var n int
`},
	{"EmptyOnPaper", "a slab goes back to the arena though its chain doesn't have all of its objects",
		test{pkg: "slub/internal/slab", pattern: `^TestDoubleFreeKeepsSlab$`}, `0 slabs are isolated`, `
slub/internal/slab/isolate.go
-	if !s.isWhole(r) {
+	if s.size == 0 {
`},
	{"IsolatedReturns", "objects that are freed into an isolated slab list it again",
		test{pkg: "slub/internal/slab", pattern: `^TestDoubleFreeKeepsSlab$`}, `at the end: node 0 counts`, `
slub/internal/slab/free.go
-		if !st.hasFree() && r.isolated {
+		if !st.hasFree() && r.isolated && n == 0 {
`},
	{"FreedIntoEmpty", "an object of a slab whose objects are all free is freed",
		test{pkg: "slub/internal/slab", pattern: `^TestDoubleFreeIntoEmptySlab$`}, `reported: \[\]`, `
slub/internal/slab/free.go
-		if st.inuse < back {
+		if st.inuse < back && n == 0 {
`},
	{"RingHandedOut", "a refill hands out an object twice, from a chain that comes back to it",
		test{pkg: "slub/internal/slab", pattern: `^TestTakeOfChainWithDoubleFree$`}, `0 slabs are isolated`, `
slub/internal/slab/partial.go
-	case obj == 0 && left > 0, obj != 0 && left <= 0:
+	case obj == 0 && left > 0:
`},
	{"FreedIntoOthers", "an object whose slab has gone back is put into the slab that has its pages now",
		test{pkg: "slub/internal/slab", pattern: `^TestDoubleFreeAfterSlabIsGone$`}, `FreeBulk: reported`, `
slub/internal/slab/free.go
-		if !s.owns(s.pageOf(objs[last])) {
+		if s.size == 0 {
 			objs = objs[:last]
`},
	{"UntouchedLinked", "a new slab links the objects that it doesn't hand out",
		test{pkg: "slub/internal/slab", pattern: `^TestUntouchedModel$`}, `never handed out, but written to`, `
slub/internal/slab/grow.go
 	s.placed(r, 0, dst[:n])
 	if n == r.objects {
 		return int(n)
 	}
+	s.linkUntouched(r, r.objects-n, 0)
`},
	{"UntouchedTwice", "a refill gives back untouched objects that it hands out",
		test{pkg: "slub/internal/slab", pattern: `^TestUntouchedModel$`}, `handed out twice|in use, want|counts`, `
slub/internal/slab/partial.go
-	if untouched := st.untouched - uint32(fresh); left > 0 || untouched > 0 {
+	if untouched := st.untouched; left > 0 || untouched > 0 {
`},
	{"UntouchedChained", "a refill hands out an object twice that was freed though it was never out",
		test{pkg: "slub/internal/slab", pattern: `^TestFreeOfUntouched$`}, `is handed out`, `
slub/internal/slab/partial.go
-		if obj-r.addr >= within.end || !within.exact && s.isOutside(within, r, st, obj) {
+		if within.end == 0 {
`},
	{"LeaksNamed", "Close lists objects of a slab in which one was freed twice as leaks",
		test{pkg: "slub", pattern: `^TestCloseFindsDamage$`}, `want one about`, `
slub/cache_leak.go
-	damaged := c.damaged()
+	damaged := error(nil)
`},
	{"IsolatedCountsAsFreed", "a slab that is isolated counts as freed",
		test{pkg: "slub/internal/slab", pattern: `^TestFreeSlabIsCounted$`}, `count as freed, want 3`, `
slub/internal/slab/free.go
-		if gone {
+		if gone || !clean {
`},
	{"OldMarksKept", "a new slab keeps the marks that the last one there has left",
		test{pkg: "slub/internal/slab", pattern: `^TestMarksOfNeighbouringSlabs$`}, `of a new slab has a mark`, `
slub/internal/slab/grow.go
-	if s.marks != nil {
-		s.marks.reset(r)
-	}
`},
}
