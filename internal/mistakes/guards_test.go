package mistakes

// guards are mistakes in what guards objects, and in what is found by it.
var guards = []mistake{
	{"GuardLeftOpen", "the page of a guarded object stays accessible when the object is free",
		test{pkg: "slub", pattern: `^TestGuardReports$/^read_after_Free$`}, `the process ends with`, `
slub/internal/guard/slot.go
-	if p.shut(p.pageAddr(slot), mem.PageSize) != nil {
+	if p.shut(p.pageAddr(0)-mem.PageSize, mem.PageSize) != nil {
`},
	{"GuardedBeforeGrace", "the page of an object given to FreeRCU is guarded at once",
		test{pkg: "slub", pattern: `^TestGuardReports$/^read_after_a_grace_period$`}, `is not in the rest of the output`, `
slub/internal/guard/slot.go
-	p.freers[slot] = CallerStack()
-	p.recordFree(slot)
-	return true
+	p.freers[slot] = CallerStack()
+	p.recordFree(slot)
+	_ = p.shut(p.pageAddr(slot), mem.PageSize)
+	return true
`},
	{"GivenAndFreed", "a guarded object that FreeDeferred was given may be freed once more",
		test{pkg: "slub", pattern: `^TestGuardedFreedTwice$`}, `reported: \[\]|use-after-free|fault`, `
slub/internal/guard/slot.go
-		return false
-	}
 	p.freers[slot] = CallerStack()
+		return true
+	}
+	p.freers[slot] = CallerStack()
`},
	{"LastFreedIsNext", "the guarded page that was freed last serves again first",
		test{pkg: "slub/internal/guard", pattern: `^TestFirstFreedIsNext$`}, `serves again while others have not`, `
slub/internal/guard/pool.go
-	p.queue[(p.first+p.n)%Slots] = uint8(slot)
+	p.first = (p.first + Slots - 1) % Slots
+	p.queue[p.first] = uint8(slot)
`},
	{"SlackUnchecked", "the bytes between a guarded object and its slot's end are not looked at",
		test{pkg: "slub/internal/guard", pattern: `^TestEveryByteBeside$`}, `byte \d+ of the page`, `
slub/internal/guard/slot.go
-	o.eachSlack(d.check)
`},
	{"PushGuarded", "an AllocBulk guards an object because a push before it was picked",
		test{pkg: "slub", pattern: `^TestBulkIsGuarded$`}, `are guarded, want`, `
sheaves/bulk.go
-				if st.Due() {
-					s.dropPick(st)
-				}
`},
	{"DistanceKept", "a CPU keeps the distance of samples that it has drawn while it was busy",
		test{pkg: "slub", pattern: `^TestLeakAfterBusyTime$`}, `the profile has no sample`, `
sheaves/sample.go
-	if epoch := s.sampleEpoch.Load(); epoch != st.Epoch && s.sampleMean > 0 {
+	if epoch := s.sampleEpoch.Load(); epoch < st.Epoch && s.sampleMean > 0 {
`},
	{"DuePickRedrawn", "a sample that is due is lost when the distances become smaller",
		test{pkg: "sheaves", pattern: `^TestSamplesAfterMeanFalls$`}, `that were picked before`, `
sheaves/sample.go
-	if !st.Due() {
+	if st.Size() > 0 {
`},
	{"NothingSaved", "samples are spaced out as soon as two come in a row",
		test{pkg: "slub", pattern: `^TestGovernor$`}, `a burst: after`, `
slub/cache_governor.go
-	if spent > maxSaved {
+	if spent > 0 {
`},
	{"GuardsThinnedOut", "guards are as rare as the samples of the profile where these are spaced out",
		test{pkg: "slub", pattern: `^TestGuardsKeepTheirRate$/^samples$`}, `objects are guarded, want`, `
slub/cache_sample.go
-	return s.samples.now(&here.samples), s.guards.now(&here.guards)
+	return s.samples.now(&here.samples), s.guards.now(&here.samples)
`},
	{"KeptStaysNoted", "an object that a hook keeps counts as freed where it was given to FreeRCU",
		test{pkg: "slub", pattern: `^TestKeptObjectIsFreedLater$`}, `reports:`, `
slub/cache_instrument.go
-	if keep && c.guards() {
+	if keep && c.guards() && p == nil {
 		guard.NoteKept(uintptr(p))
`},
	{"GuardStaysCharged", "a group is charged for guarded pages for good",
		test{pkg: "slub", pattern: `^TestGuardedObjectIsOrdinary$`}, `are charged to the group when nothing`, `
slub/internal/slab/guarded.go
-	if s.uncharge != nil {
+	if s.uncharge != nil && page == 0 {
`},
	{"FreeNotedForNext", "what was noted of the free of a guarded object is taken for that of the next one there",
		test{pkg: "slub/internal/guard", pattern: `^TestFreeIsForgotten$`}, `its history says`, `
slub/internal/guard/slot.go
-	p.noted[slot].Store(false)
`},
}
