package mistakes

// misuse are mistakes in what finds, in builds with invariants, that a reader is none, that it
// breaks the rules of package rcu, or that what is published may not be.
var misuse = []mistake{
	{"SectionOfAnother", "a section of one goroutine lets another one load",
		test{pkg: "rcu", pattern: `^TestLoadOutsideSection$`, tag: "invariants"}, `protects another`, `
rcu/reading_on.go
-	if s := d.sections.Load(); s != nil && s.traces.holds(goroutine) {
+	if s := d.sections.Load(); s != nil && s.open() > 0 {
`},
	{"OfflineReads", "a goroutine whose reader is offline may load",
		test{pkg: "rcu", pattern: `^TestLoadOutsideSection$`, tag: "invariants"}, `after Offline`, `
rcu/reading_on.go
-		if last := r.owner.last(); r.seen() != offline && (last == goroutine || last == 0) {
+		if last := r.owner.last(); last == goroutine || last == 0 {
`},
	{"ReaderOfAnother", "a goroutine may use a reader that another one has online",
		test{pkg: "rcu", pattern: `^TestReaderOfAnotherGoroutine$`, tag: "invariants"}, `panic "", want`, `
rcu/trace_on.go
-	if last == me || mayNotUse(last) {
+	if last != 0 {
`},
	{"EndNotAwaited", "a goroutine that has said that it is done, and has some instructions to go, still has its reader",
		test{pkg: "rcu", pattern: `^TestReaderOfEndedGoroutine$`, tag: "invariants"}, `hand a reader on offline`, `
rcu/trace_on.go
-		if !strings.HasPrefix(state, "run") { // running or runnable
+		if state != "" {
`},
	{"IteratorIsAnother", "an iterator of iter.Pull may not use the reader of its caller",
		test{pkg: "rcu", pattern: `^TestReaderInPull$`, tag: "invariants"}, `with a reader: .*hand a reader on offline`, `
rcu/trace_on.go
-		if !found || state == inPull {
+		if !found {
`},
	{"OnlineUnrecorded", "a goroutine is noted as the user of a reader after it has gone online",
		test{pkg: "rcu", pattern: `^TestSynchronizeAfterHandingOn$`, tag: "invariants"}, `Synchronize by reader "reader"`, `
rcu/reader.go
-		r.owner.record() // before it is online: the last owner may call Synchronize now
 		r.goOnline()
+		r.owner.record()
`},
	{"LockLeftByExit", "an Exit may make the reader offline inside Lock",
		test{pkg: "rcu", pattern: `^TestExitInsideLock$`, tag: "invariants"}, `want "Exit inside Lock"`, `
rcu/lock_on.go
-	if n.depth > 0 && r.depth == 0 { // it would make the reader offline
+	if false {
`},
	{"RoundEndsAnywhere", "a round of Loop may leave the reader offline, or in a section",
		test{pkg: "rcu", pattern: `^TestRoundsEndOnline$`, tag: "invariants"}, `want "another round of Loop`, `
rcu/loop.go
-			r.nesting.afterRound(r)
`},
	{"RunEndsAnywhere", "the work of Run may return in a section",
		test{pkg: "rcu", pattern: `^TestRunEndsOutside$`, tag: "invariants"}, `want "Close inside Lock"`, `
rcu/loop.go
-	r.nesting.afterWork(r)
`},
	{"BarrierUnlooked", "a Barrier does not look whether it waits for a reader of its own goroutine",
		test{pkg: "rcu", pattern: `^TestBarrierByUnusedReader$`, tag: "invariants"}, `Barrier: rcu: .*deadline exceeded`, `
rcu/defer.go
-			if err := d.scanStalls(true).selfWait(); err != nil {
-				return err
-			}
`},
	{"LoopStaysOffline", "Loop does not go online before its first round",
		test{pkg: "rcu", pattern: `^TestLoopGoesOnline$`}, `of 2 rounds were online`, `
rcu/loop.go
-	r.Online()
 	for n := 1; ; n++ {
`},
	{"PublisherUnasked", "whatever an rcu.Pointer is given may be published",
		test{pkg: "slub", pattern: `^TestPublishedIsObject$`, tag: "invariants"}, `Store: "", want`, `
internal/invariants/publish.go
-	if f := unpublishable.Load(); f != nil {
-		return (*f)(addr)
-	}
`},
	{"CompareUnasked", "CompareAndSwap publishes whatever it is given",
		test{pkg: "slub", pattern: `^TestPublishedIsObject$`, tag: "invariants"}, `CompareAndSwap: "", want`, `
rcu/pointer.go
-	if invariants.Enabled {
-		assertPublishable("CompareAndSwap", mem.Addr(obj))
-	}
`},
	{"GivenPublished", "an object that waits for its grace period may be published",
		test{pkg: "slub", pattern: `^TestPublishedIsObject$`, tag: "invariants"}, `want "it was given`, `
slub/published.go
-	if mark := c.slabs.MarkOf(p, c.marks.push.Owner(p)); mark != slab.InUse {
+	if mark := c.slabs.MarkOf(p, c.marks.push.Owner(p)); mark == slab.Free {
`},
}
