package mistakes

// What the tests of rcu say.
const (
	early  = `a grace period has ended early`
	stuck  = `a grace period doesn't end`
	missed = `Barrier returned after`
)

var (
	members  = test{pkg: "rcu", pattern: `^TestTorture$/^two_members$`}
	visitors = test{pkg: "rcu", pattern: `^TestTorture$/^two_visitors$`}
	barrier  = test{pkg: "rcu", pattern: `^TestBarrierMissesNothing$`}

	// A sequence that is interrupted starts again. So a reader can come late to what it
	// has decided only on the other engine.
	stragglers = test{pkg: "rcu", pattern: visitors.pattern, engine: "trylock"}
)

// gracePeriods are mistakes in rcu's grace periods and its registered readers.
var gracePeriods = []mistake{
	{"WaitSkipped", "a waiter doesn't wait", members, early, `
rcu/wait.go
 func (d *Domain) await(ctx context.Context, t Token, ask bool) error {
+	return nil
`},
	{"PollEarly", "a token is over when the one before it is", members, early, `
rcu/token.go
 func (d *Domain) Poll(t Token) bool {
+	if t != 0 {
+		t -= step
+	}
`},
	{"StartJoins", "Start joins the grace period that is running already", members, early, `
rcu/token.go
-func (d *Domain) Start() Token { return d.seq.next() }
+func (d *Domain) Start() Token { return d.seq.load() }
`},
	{"ReaderMissed", "a scan leaves out the reader that registered last", members, early, `
rcu/token.go
-	for _, r := range d.list() {
+	for _, r := range d.list()[:max(len(d.list())-1, 0)] {
`},
	{"HolderTrusted", "the reader that was last seen behind answers for all", members, early, `
rcu/token.go
-	if h := d.holder.Load(); h != nil && h.behind(t) {
-		return false
+	if h := d.holder.Load(); h != nil {
+		return !h.behind(t)
`},
	{"ReportTooFar", "Quiescent reports for the next grace period as well", members, early, `
rcu/reader.go
-	now, w := r.domain.seq.load(), r.seen()
+	now, w := r.domain.seq.load()+step, r.seen()
`},
	{"OnlineUnannounced", "Online doesn't tell that it is", members, early, `
rcu/reader.go
-		r.goOnline()
`},
	{"ListEditedInPlace", "Close changes the list of readers under a scan", members, early + `|nil pointer dereference`, `
rcu/domain.go
-	list := slices.DeleteFunc(slices.Clone(d.list()), func(o *Reader) bool { return o == r })
+	list := slices.DeleteFunc(d.list(), func(o *Reader) bool { return o == r })
`},
	{"SequenceReadLate", "a scan loads the sequence after the readers' words", members, early, `
rcu/token.go
+	if holder == nil {
+		oldest = d.seq.load()
+	}
 	if d.holder.Load() != holder { // mostly there is none, before and now
`},
	{"ComparedUnsigned", "sequence numbers are compared as if they didn't wrap", members, early + `|` + stuck + `|test timed out`, `
rcu/sequence.go
-func reached(now, goal Token) bool { return int64(now-goal) >= 0 }
+func reached(now, goal Token) bool { return now >= goal }
`},
}

// sections are mistakes in what counts and awaits those of unregistered readers.
var sections = []mistake{
	{"SectionsForgotten", "grace periods wait for registered readers only", visitors, early, `
rcu/token.go
-			oldest = c
`},
	{"FirstDrainSkipped", "stragglers under the idle index aren't waited for", stragglers, early, `
rcu/sections.go
-		if !s.empty(s.counts.Current().Other()) {
-			return false
-		}
 		s.counts.Flip()
internal/percpu/readers.go
 import (
+	"math/rand/v2"
+	"time"
internal/percpu/readers.go
 	i := r.Current()
+	if rand.IntN(200) == 0 {
+		time.Sleep(10 * time.Millisecond)
+	}
`},
	{"FlipForgotten", "new sections go on under the same index", visitors, early, `
rcu/sections.go
-		s.counts.Flip()
`},
	{"SecondDrainSkipped", "sections under the index that was current aren't waited for", visitors, early, `
rcu/sections.go
-	if !s.empty(s.counts.Current().Other()) {
-		return false
-	}
 	s.drainOld = false
`},
	{"GoalReadLate", "what is started while sections are waited for is over with them", visitors, early, `
rcu/sections.go
-	s.completed.raise(Token(s.goal.Load()))
+	s.completed.raise(d.seq.load())
`},
	{"DrivenTwice", "two at once move a grace period on", visitors, early, `
rcu/sections.go
-	if !s.driving.CompareAndSwap(false, true) {
-		return
-	}
rcu/sections.go
+		time.Sleep(time.Microsecond)
 		s.counts.Flip()
`},
	{"RowMissed", "a CPU's row is left out of the sums", visitors, early + `|` + stuck + `|more Exits than Enters`, `
internal/percpu/readers.go
-	for cpu := range NumCPU() + 1 {
+	for cpu := 1; cpu < NumCPU()+1; cpu++ {
`},
	{"ExitsReadLast", "exits are summed up after enters", test{pkg: "internal/percpu", pattern: `^TestReadersOpen$`}, `though one is open`, `
internal/percpu/readers.go
-	exited := r.sum(i, (*readerCount).exited)
-	return int64(r.sum(i, (*readerCount).entered) - exited)
+	entered := r.sum(i, (*readerCount).entered)
+	return int64(entered - r.sum(i, (*readerCount).exited))
`},
	{"FenceDropped", "no membarrier orders a section's first load behind its counting",
		test{pkg: "internal/percpu", pattern: `^TestReadersFence$/^membarrier$`}, `not counted`, `
internal/percpu/readers.go
-	if !r.fence {
+	if r.fence || !r.fence {
`},
}

// callbacks are mistakes in Defer and Barrier.
var callbacks = []mistake{
	{"CallbackEarly", "callbacks run before their token is over", members, early, `
rcu/worker.go
-		_ = w.domain.await(context.Background(), w.batch.token, false)
+		_ = w.domain.await(context.Background(), 0, false)
`},
	{"BatchTokenFirst", "a batch of callbacks waits for the grace period of its first only", members, early, `
rcu/worker.go
-		if c.token != 0 && (b.token == 0 || !reached(b.token, c.token)) {
+		if c.token != 0 && b.token == 0 {
`},
	{"BarrierMissesCPUs", "Barrier leaves out the queues of all CPUs but the first", barrier, missed, `
rcu/defer.go
 	for i := range *p {
+		if i > 0 {
+			pass()
+			continue
+		}
`},
	{"BarrierSkipsEmpty", "Barrier leaves out queues that look empty", barrier, missed, `
rcu/defer.go
 	for i := range *p {
+		if (*p)[i].head.Load() == nil {
+			pass()
+			continue
+		}
`},
}
