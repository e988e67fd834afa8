package mistakes

// What slub's torture test says; Barrier's word is that of rcu's.
const (
	tooSoon = `freed too early`
	reused  = `handed out in stage 2`
)

var (
	freeRCU = test{pkg: "slub", pattern: `^TestTortureFreeRCU$/^sheaves$`}
	nodes   = test{pkg: "slub", pattern: `^TestTortureFreeRCU$/^four_nodes$`}
	chains  = test{pkg: "slub", pattern: `^TestTortureFreeRCU$/^chains$`}
)

// sheaves are mistakes in how sheaves wait for grace periods.
var sheaves = []mistake{
	{"SheafReadyEarly", "a sheaf's objects are freed before its grace period is over", freeRCU, tooSoon, `
sheaves/waiting.go
-	for s := l.waiting; s != nil && d.PollNoAdvance(s.token); s = l.waiting {
+	for s := l.waiting; s != nil; s = l.waiting {
`},
	{"WaitListMissed", "only the list of the caller's CPU is looked at for ready sheaves", test{pkg: "sheaves", pattern: `^TestEveryWaitList$`}, `is stale|was left`, `
sheaves/waiting.go
-	for left := bits.RotateLeft8(uint8(used), -own); left != 0; left &= left - 1 {
+	for left := bits.RotateLeft8(uint8(used), -own) & 1; left != 0; left &= left - 1 {
`},
	{"WaitListUnnoted", "a list's first sheaf is parked before the list shows as used", freeRCU, missed, `
sheaves/waiting.go
-	if w.used.Load()&(1<<i) == 0 {
-		w.used.Or(1 << i)
-	}
`},
	{"InFlightShardMissed", "Barrier waits for goroutines that are reclaiming on some CPUs only", test{pkg: "sheaves", pattern: `^TestInFlightOfAnyCPU$`}, `wait returned`, `
sheaves/barrier.go
-	for i := range f.active {
+	for i := range f.active[:1] {
`},
	{"SheafUnstamped", "a sheaf keeps the token of the last time that it waited", freeRCU, tooSoon, `
sheaves/rcu.go
-	sh.token = c.set.domain.Start()
`},
	{"CPUMissed", "Barrier leaves out a CPU's rcu_free", freeRCU, missed, `
sheaves/barrier.go
 		for cpu := range c.slots.CPUs() {
+			if cpu == 0 {
+				continue
+			}
`},
	{"ParkedUnlocked", "FreeRCU unlocks the CPU's stack before its full sheaf is in the barn", freeRCU, missed, `
sheaves/rcu.go
 import (
+	"math/rand/v2"
+	"time"
sheaves/rcu.go
 	st.CountPush()
-	b := c.start(sh, cpu, false)
 	st.Unlock()
+	if rand.IntN(50) == 0 {
+		time.Sleep(10 * time.Millisecond)
+	}
+	b := c.start(sh, cpu, false)
`},
	{"ExpiringMissed", "Barrier doesn't wait for goroutines that are reclaiming a sheaf", freeRCU, missed, `
sheaves/barrier.go
-	if err := s.reclaiming.wait(ctx); err != nil {
-		return err
-	}
`},
	{"DestructorSkipped", "an allocation takes a sheaf without having its objects destroyed", freeRCU, reused, `
sheaves/reclaim.go
-	s.reclaim(sh, b)
 	if sh.size == 0 || sh.noBarn {
`},
}

// queue are mistakes in how that waits for grace periods which no sheaf takes.
var queue = []mistake{
	{"FreedAtOnce", "what no sheaf takes is freed without a grace period", nodes, tooSoon + `|` + reused, `
slub/rcu.go
-	c.freeQueue.Add(p, at, int64(c.layout.slot), w)
+	c.Free(p)
`},
	{"PageUnstamped", "a full page keeps the token of the last time that it waited", nodes, tooSoon, `
slub/internal/freequeue/node.go
-	page.token = d.Start()
`},
	{"PageReadyEarly", "a page's objects are freed before its grace period is over", nodes, tooSoon, `
slub/internal/freequeue/node.go
-	if oldest == nil || !d.PollNoAdvance(oldest.token) {
+	if oldest == nil {
`},
	{"OpenPageMissed", "Barrier leaves out pages that are not full", nodes, missed, `
slub/internal/freequeue/node.go
-	if q.openPage != nil {
+	if q.openPage != nil && !all {
`},
	{"ReclaimerMissed", "Barrier doesn't wait for a goroutine that is reclaiming", chains, missed, `
slub/internal/freequeue/reclaim.go
-	"github.com/slubd/slubd/internal/lock"
slub/internal/freequeue/reclaim.go
-	if err := lock.Context(ctx, &q.reclaiming); err != nil {
-		return err
+	if !q.reclaiming.TryLock() {
+		return nil
`},
	{"ChainMisjudged", "a chain is taken though more was added to it after the look at its token", chains, tooSoon, `
slub/internal/freequeue/node.go
 import (
+	"time"
slub/internal/freequeue/node.go
 		return chain{}
 	}
+	time.Sleep(time.Millisecond)
slub/internal/freequeue/node.go
-	if q.startedChain.token == token {
-		c, q.startedChain = q.startedChain, chain{}
-	}
+	c, q.startedChain = q.startedChain, chain{}
`},
	{"ChainTokenKept", "what is added to a started chain doesn't renew its token", chains, tooSoon, `
slub/internal/freequeue/node.go
 		q.openChain.bytes += q.startedChain.bytes
-	}
-	q.openChain.token = d.Start()
+		q.openChain.token = q.startedChain.token
+	default:
+		q.openChain.token = d.Start()
+	}
`},
	{"ExpeditingKept", "what is charged while an expedited round reclaims doesn't start another one",
		test{pkg: "internal/backlog", pattern: `^TestRequestWhileReclaiming$`}, `1 rounds have begun`, `
internal/backlog/expedite.go
-	b.expediting.Store(false)
 	defer b.expediteAgain() // even if a destructor ends the goroutine
 	b.each(Queue.ReclaimReady)
+	b.expediting.Store(false)
`},
	{"LimitPerCache", "each cache may have a quarter of the arena wait, not all of them together",
		test{pkg: "slub", pattern: `^TestManyCachesAreHeldUp$`}, `FreeRCU was never held up`, `
internal/backlog/backlog.go
-		b.limit = &cfg.Pool.limit
+		b.limit = &limit{hard: cfg.Pool.limit.hard}
`},
}

// timers are mistakes in what wakes up for work that has arrived.
var timers = []mistake{
	{"TickPaysAlone", "a tick has a grace period pass for each sheaf that it starts",
		test{pkg: "sheaves", pattern: `^TestTicksShareGracePeriods$`}, `ticks that start sheaves`, `
sheaves/timer.go
-			if b := c.detachAndStart(cpu, false); b != nil && b.waits() > c.set.MaxWaiting() {
-				c.set.armFor(b, true)
-			}
+			c.startCPU(cpu, false)
`},
	{"TickWaitsForOthers", "a tick relies on other goroutines to move its grace period on",
		test{pkg: "sheaves", pattern: `^TestTicksShareGracePeriods$`}, `ticks that want sheaves`, `
sheaves/timer.go
-			s.domain.Poll(t) // also looks for stalls, now and then, which nothing else may do
+			s.domain.PollNoAdvance(t)
`},
	{"FirstOfGroupSkipped", "a sum over CPUs leaves out the first of those that were prefetched together",
		test{pkg: "internal/percpu", pattern: `^TestCounters$`}, `all sums are`, `
internal/percpu/marks.go
-				for ; group != word; group &= group - 1 {
+				for group &= group - 1; group != word; group &= group - 1 {
`},
	{"ArmedClearedLate", "a timer clears its flag when it has looked for work",
		test{pkg: "internal/lazytimer", pattern: `^TestArrivalDuringRun$/^overlapping$`}, `lost wake-up`, `
internal/lazytimer/lazytimer.go
-		t.armed.Store(false)
 		run()
+		t.armed.Store(false)
`},
	{"PendingAskedEarly", "an exclusive timer asks what is pending before it clears its flag",
		test{pkg: "internal/lazytimer", pattern: `^TestStressNoArrivalIsMissed$/^exclusive$`}, `lost wake-up`, `
internal/lazytimer/lazytimer.go
-		t.armed.Store(false)
-		if pending() {
+		again := pending()
+		time.Sleep(time.Millisecond)
+		t.armed.Store(false)
+		if again {
`},
	{"SheafLeftToTick", "a tick that starts one sheaf too many leaves it to the next tick",
		test{pkg: "sheaves", pattern: `^TestTickStartsTooMany$`}, `sheaves wait, want 0`, `
sheaves/timer.go
-				c.set.armFor(b, true)
+				c.set.armFor(b, false)
`},
}
