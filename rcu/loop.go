package rcu

// reportEvery is how many rounds of a Loop there are to a report: rounds that take 100 ns
// then delay a grace period by 6 us, and pay 0.02 ns each.
const reportEvery = 64

// Run registers a reader, has work use it, and closes it when work returns. The goroutine
// is the caller's, so that it combines with what chooses the thread:
//
//	sheaves.RunPinned(cpus, func() { domain.Run("packets", work) })
func (d *Domain) Run(name string, work func(*Reader)) {
	r := d.Register(name)
	defer r.close()
	work(r)
}

// close is Close also for a work that has panicked or exited inside a section, whose
// own trouble matters more than that.
func (r *Reader) close() {
	if !r.closed {
		r.leave()
	}
}

// Loop is the life of an event loop. It calls round again and again, which returns
// whether there was anything to do; every 64 rounds it reports. When there was nothing, it
// calls wait, offline, which may block until there is, and returns false to end the loop. In
// between rounds the caller holds no references; the reader is online in all of them, and
// when Loop returns.
func (r *Reader) Loop(round, wait func() bool) {
	for n := 1; ; n++ {
		if round() {
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

// Blocking calls f, which may block for long, with the reader offline: nobody waits for
// it meanwhile. The caller holds no references, f takes none, and the reader is online when
// Blocking returns, even if f panics.
func (r *Reader) Blocking(f func()) {
	r.Offline()
	defer r.Online()
	f()
}
