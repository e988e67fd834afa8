package mistakes

// misuse are mistakes in what finds, in builds with invariants, that a reader is none or that what
// is published may not be.
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
