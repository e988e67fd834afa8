package mistakes

// What the tests of rcu say.
const (
	early  = `a grace period has ended early`
	stuck  = `a grace period doesn't end`
	missed = `Barrier returned after`
)

var (
	registered   = test{pkg: "rcu", pattern: `^TestTorture$/^two_registered$`}
	unregistered = test{pkg: "rcu", pattern: `^TestTorture$/^two_sections$`}
	timed        = test{pkg: "rcu", pattern: `^TestBeginAfterTheEnd$`}
	barrier      = test{pkg: "rcu", pattern: `^TestBarrierMissesNothing$`}

	// A sequence that is interrupted starts again. So a reader can come late to what it
	// has decided only on the other engine.
	stragglers = test{pkg: "rcu", pattern: unregistered.pattern, engine: "trylock"}
)

// gracePeriods are mistakes in rcu's grace periods and its registered readers.
var gracePeriods = []mistake{
	{"WaitSkipped", "a waiter doesn't wait", registered, early, `
rcu/wait.go
 func (d *Domain) await(ctx context.Context, t Token, needCPU bool) error {
+	return nil
`},
	{"PollEarly", "a token is over when the one before it is", registered, early, `
rcu/token.go
 func (d *Domain) Poll(t Token) bool {
+	if t != 0 {
+		t -= step
+	}
`},
	{"StartJoins", "Start joins the grace period that is running already", registered, early, `
rcu/token.go
-func (d *Domain) Start() Token { return d.seq.next() }
+func (d *Domain) Start() Token { return d.seq.load() }
`},
	{"ReaderMissed", "a scan leaves out the reader that registered last", registered, early, `
rcu/token.go
-	for _, r := range d.list() {
+	for _, r := range d.list()[:max(len(d.list())-1, 0)] {
`},
	{"BlockerTrusted", "the reader that was last seen behind answers for all", registered, early, `
rcu/token.go
-	if b := d.blocker.Load(); b != nil && b.behind(t) {
-		return false
+	if b := d.blocker.Load(); b != nil {
+		return !b.behind(t)
`},
	{"TimedAfterTheEnd", "a grace period that has ended meanwhile is timed until a later one ends", timed, `a grace period that is over is being timed`, `
rcu/times.go
-	if p.token.CompareAndSwap(0, uint64(t)) && reached(completed.load(), t) {
+	if p.token.CompareAndSwap(0, uint64(t)) && t == 0 {
`},
	{"ReportTooFar", "Quiescent reports for the next grace period as well", registered, early, `
rcu/reader.go
-	now, w := r.domain.seq.load(), r.seen()
+	now, w := r.domain.seq.load()+step, r.seen()
`},
	{"OnlineUnannounced", "Online doesn't tell that it is", registered, early, `
rcu/reader.go
-		r.goOnline()
`},
	{"ListEditedInPlace", "Close changes the list of readers under a scan", registered, early + `|nil pointer dereference`, `
rcu/domain.go
-	list := slices.DeleteFunc(slices.Clone(d.list()), func(o *Reader) bool { return o == r })
+	list := slices.DeleteFunc(d.list(), func(o *Reader) bool { return o == r })
`},
	{"SequenceReadLate", "a scan loads the sequence after the readers' words", registered, early, `
rcu/token.go
+	if blocker == nil {
+		oldest = d.seq.load()
+	}
 	if d.blocker.Load() != blocker { // mostly both are nil
`},
	{"ComparedUnsigned", "sequence numbers are compared as if they didn't wrap", registered, early + `|` + stuck + `|test timed out`, `
rcu/sequence.go
-func reached(now, goal Token) bool { return int64(now-goal) >= 0 }
+func reached(now, goal Token) bool { return now >= goal }
`},
}

// sections are mistakes in what counts and awaits those of unregistered readers.
var sections = []mistake{
	{"SectionsForgotten", "grace periods wait for registered readers only", unregistered, early, `
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
	{"FlipForgotten", "new sections go on under the same index", unregistered, early, `
rcu/sections.go
-		s.counts.Flip()
`},
	{"SecondDrainSkipped", "sections under the index that was current aren't waited for", unregistered, early, `
rcu/sections.go
-	if !s.empty(s.counts.Current().Other()) {
-		return false
-	}
 	s.drainOld = false
`},
	{"GoalReadLate", "what is started while sections are waited for is over with them", unregistered, early, `
rcu/sections.go
-	s.completed.raise(Token(s.goal.Load()))
+	s.completed.raise(d.seq.load())
`},
	{"DrivenTwice", "two at once move a grace period on", unregistered, early, `
rcu/sections.go
-	if !s.driving.CompareAndSwap(false, true) {
-		return
-	}
rcu/sections.go
+		time.Sleep(time.Microsecond)
 		s.counts.Flip()
`},
	{"RowMissed", "a CPU's row is left out of the sums", unregistered, early + `|` + stuck + `|more Exits than Enters`, `
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
	{"EnterUnfenced", "a registered reader's sections are stored plainly, but no grace period has a membarrier for them",
		test{pkg: "rcu", pattern: `^TestPlainEnterIsFenced$`}, `replaced by a plain store`, `
rcu/reader_section.go
-	if r.domain.getSections().counts.Fenced() && !invariants.Enabled {
+	if !invariants.Enabled {
`},
	{"InnerExitEnds", "the Exit of an inner section ends the outer one",
		test{pkg: "rcu", pattern: `^TestReaderSections$`}, `after a section in the first`, `
rcu/reader_section.go
-	if r.depth != 0 {
+	if false {
`},
	{"RunNamesItself", "a reader of Run is reported with a line of Run",
		test{pkg: "rcu", pattern: `^TestRunIsNamedByItsCaller$`}, `registered at \S*rcu/loop.go`, `
rcu/loop.go
-	r := d.register(name)
+	r := d.Register(name)
`},
	{"PlaceTakenTwice", "two goroutines that note a line at once take two places",
		test{pkg: "rcu", pattern: `^TestPlacesOfOneLine$`}, `a line has 2 places`, `
rcu/places.go
-		if at := &p.pcs[i]; at.Load() == pc || at.CompareAndSwap(0, pc) || at.Load() == pc {
+		if at := &p.pcs[i]; at.Load() == pc || at.CompareAndSwap(0, pc) {
`},
	{"StallUnlooked", "no Enter is looked at while sections hold up a grace period",
		test{pkg: "rcu", pattern: `^TestEntersAreLookedAt$`}, `when it has waited: sections are looked at: false`, `
rcu/stall.go
-				d.lookAtEnters(s, stallLooks)
`},
}

// callbacks are mistakes in Defer and Barrier.
var callbacks = []mistake{
	{"CallbackEarly", "callbacks run before their token is over", registered, early, `
rcu/worker.go
-		_ = w.domain.await(context.Background(), w.batch.token, false)
+		_ = w.domain.await(context.Background(), 0, false)
`},
	{"BatchTokenFirst", "a batch of callbacks waits for the grace period of its first only", registered, early, `
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
