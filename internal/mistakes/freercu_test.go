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
-	for s := b.waiting; s != nil && d.Elapsed(s.token); s = b.waiting {
+	for s := b.waiting; s != nil; s = b.waiting {
`},
	{"SheafUnstamped", "a sheaf keeps the token of the last time that it waited", freeRCU, tooSoon, `
sheaves/rcu.go
-	sh.token = s.Domain.Start()
`},
	{"CPUMissed", "Barrier leaves out a CPU's rcu_free", freeRCU, missed, `
sheaves/barrier.go
-	for cpu := range percpu.NumCPU() {
+	for cpu := 1; cpu < percpu.NumCPU(); cpu++ {
`},
	{"ParkedUnlocked", "FreeRCU unlocks the CPU's stack before its full sheaf is in the barn", freeRCU, missed, `
sheaves/rcu.go
 import (
+	"math/rand/v2"
+	"time"
sheaves/rcu.go
 	st.CountPush()
-	b := s.submit(sh, cpu, false)
 	st.Unlock()
+	if rand.IntN(50) == 0 {
+		time.Sleep(10 * time.Millisecond)
+	}
+	b := s.submit(sh, cpu, false)
`},
	{"ExpiringMissed", "Barrier doesn't wait for those who are expiring a sheaf", freeRCU, missed, `
sheaves/barrier.go
-	s.expiring.wait()
`},
	{"PhaseTrusted", "who takes a sheaf registers under a phase that may be over", freeRCU, missed, `
sheaves/barrier.go
 import (
+	"math/rand/v2"
+	"time"
sheaves/barrier.go
 		phase := f.phase.Load()
+		if rand.IntN(20) == 0 {
+			time.Sleep(5 * time.Millisecond)
+		}
 		f.active[phase&1].Add(1)
-		if f.phase.Load() == phase {
-			return phase
-		}
-		f.active[phase&1].Add(-1)
+		return phase
sheaves/reap.go
 import (
+	"time"
sheaves/reap.go
+	if phase != s.expiring.phase.Load() {
+		time.Sleep(10 * time.Millisecond)
+	}
 	s.expire(sh, b)
 	if sh.size == 0 || sh.noBarn {
`},
	{"DestructorSkipped", "an allocation takes a sheaf without having its objects destroyed", freeRCU, reused, `
sheaves/reap.go
-	s.expire(sh, b)
 	if sh.size == 0 || sh.noBarn {
`},
}

// queue are mistakes in how that waits for grace periods which no sheaf takes.
var queue = []mistake{
	{"FreedAtOnce", "what no sheaf takes is freed without a grace period", nodes, tooSoon + `|` + reused, `
slub/rcu.go
-	c.rcuQueue.add(p, at, c.layout.slot, mayWait)
+	c.Free(p)
`},
	{"BlockUnstamped", "a full block keeps the token of the last time that it waited", nodes, tooSoon, `
slub/rcurow.go
-	b.token = d.Start()
`},
	{"BlockReadyEarly", "a block's objects are freed before its grace period is over", nodes, tooSoon, `
slub/rcurow.go
-	if oldest == nil || !d.Elapsed(oldest.token) {
+	if oldest == nil {
`},
	{"OpenBlockMissed", "Barrier leaves out blocks that are not full", nodes, missed, `
slub/rcurow.go
-	if r.open != nil {
+	if r.open != nil && !all {
`},
	{"DrainerMissed", "Barrier doesn't wait for who is ending objects", chains, missed, `
slub/rcuqueue.go
-	q.draining.Lock()
+	if !q.draining.TryLock() {
+		return
+	}
`},
	{"ChainMisjudged", "a chain is taken though more was added to it after the look at its token", chains, tooSoon, `
slub/rcurow.go
 import (
+	"time"
slub/rcurow.go
 		return chain{}
 	}
+	time.Sleep(time.Millisecond)
slub/rcurow.go
-	if r.waiting.token == token {
-		c, r.waiting = r.waiting, chain{}
-	}
+	c, r.waiting = r.waiting, chain{}
`},
	{"ChainTokenKept", "what is added to a sealed chain doesn't renew its token", chains, tooSoon, `
slub/rcurow.go
 		r.links.bytes += r.waiting.bytes
-	}
-	r.links.token = d.Start()
+		r.links.token = r.waiting.token
+	default:
+		r.links.token = d.Start()
+	}
`},
	{"HurryingKept", "what is charged while a rush reaps doesn't start another one",
		test{pkg: "sheaves", pattern: `^TestHurryWhileReaping$`}, `1 rounds have begun`, `
sheaves/hurry.go
-	b.hurrying.Store(false)
 	defer b.answer() // should a destructor end the goroutine, too
 	b.each(Member.Reap)
+	b.hurrying.Store(false)
`},
}
