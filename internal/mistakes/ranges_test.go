package mistakes

// ranges are mistakes in how an arena's range grows, and is used again after Close.
var ranges = []mistake{
	{"CarvedUnwritable", "an arena carves pages that are not writable yet", arenaTest("RangeBecomesWritableInSteps"), `SIGSEGV|fault`, `
arena/zone.go
-	if z.bump == z.writable {
+	if z.bump == z.end {
`},
	{"GrownAfterClose", "a late goroutine makes pages of a closed arena writable", arenaTest("GrowthAfterClose"), `the kernel was asked`, `
arena/grow.go
-func (z *zone) short() bool { return z.bump == z.writable && z.writable < z.end && !z.closed }
+func (z *zone) short() bool { return z.bump == z.writable && z.writable < z.end }
`},
	{"KeptTooLong", "a freed mapping that is used again is charged for pages without use", arenaTest("KeptMappingOfOtherSize"), `pages charged`, `
arena/kept.go
-	if m.charged > pages && !long {
+	if false {
`},
	{"KeptOnOtherNode", "a mapping gets the pages of one that was on another node", arenaTest("KeptMappingOfOtherNode"), `node 1 has|dirty bytes, <nil>, want`, `
arena/kept.go
-func (m *mapping) key() keptKey { return keptKey{m.backing.size, m.node} }
+func (m *mapping) key() keptKey { return keptKey{m.backing.size, 0} }
`},
	{"StaleFree", "a closed arena frees a run of the one that has its range", arenaTest("StaleCallsOnClosedArena"), `frees a run of another`, `
arena/zone.go
-	if page >= z.bump { // never carved, or closed since
-		return 0, false
-	}
`},
	{"EarlierArenaForgotten", "what an earlier arena handed out can't be read", arenaTest("StalePointerReadsZero"), `access is|SIGSEGV|fault`, `
arena/ranges.go
-	readable = max(z.readable, z.bump)
+	readable = z.bump
`},
}

func arenaTest(name string) test { return test{pkg: "arena", pattern: "^Test" + name + "$"} }
