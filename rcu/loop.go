package rcu

// reportEvery is how many rounds a Loop makes per report. Rounds of 100 ns each then delay a grace
// period by 6 us, and pay 0.02 ns each for reports.
const reportEvery = 64

// Run registers a reader, calls work with it, and closes the reader when work returns. Work runs on
// the caller's goroutine, so that Run combines with functions that choose the thread:
//
//	sheaves.RunPinned(cpus, func() { domain.Run("packets", work) })
//
// Builds with -tags invariants or -race panic if work returns inside a section of the reader.
func (d *Domain) Run(name string, work func(*Reader)) {
	r := d.register(name)
	defer r.close()
	work(r)
	r.nesting.afterWork(r)
}

// Loop runs an event loop. It goes online, calls round again and again, and reports every 64
// rounds. round returns whether there was anything to do. When there was not, Loop goes offline and
// calls wait, which may block until there is, and returns false to end the loop. Between rounds the
// caller holds no references. The reader is online in every round, and when Loop returns. A round
// may go offline, but must end online and outside of sections: builds with -tags invariants or
// -race panic otherwise.
func (r *Reader) Loop(round, wait func() bool) {
	r.Online()
	for n := 1; ; n++ {
		if round() {
			r.nesting.afterRound(r)
			if n%reportEvery == 0 {
				r.Quiescent()
			}
			continue
		}
		again := false
		r.Blocking(func() { again = wait() })
		if !again {
			return
		}
	}
}

// Blocking calls f, which may block for long, with the reader offline: no grace period waits for it
// meanwhile. The caller holds no references, and f takes none. The reader is online when Blocking
// returns, even if f panics.
func (r *Reader) Blocking(f func()) {
	r.Offline()
	defer r.Online()
	f()
}
