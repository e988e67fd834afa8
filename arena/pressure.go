package arena

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/slubd/slubd/internal/sys"
)

// Shrinkers are also called when the kernel says that memory is short: where threads wait for
// memory (PSI), and where a cgroup of the process is at its limit (memory.events, or memory.failcnt
// with version 1). One goroutine of a watch waits for notices of that while one of its arenas has a
// shrinker. Where the kernel gives no notice, as of version 1 or to a process that may not write to
// memory.pressure, it reads the files each second. It never runs a shrinker itself, so that none
// can hold it up or end it.

// pressurePeriod is the time between two readings, and the least time between two calls of
// shrinkers.
const pressurePeriod = time.Second

// Parts of what shrinkers count that they are asked for, as in Arena.Shrink.
const (
	partStalled = 8 // threads wait for memory, or a cgroup is at its limit
	partOOM     = 2 // the kernel could not reclaim enough for a cgroup
)

// pressure has the goroutine of a watch that waits for notices.
type pressure struct {
	// Tests replace these.
	open   func() (n notices, complete bool, err error) // openNotices
	read   func() (sys.Pressure, error)                 // sys.ReadPressure
	period time.Duration                                // pressurePeriod

	mu     sync.Mutex // a leaf; files are closed under it
	arenas int        // open ones with shrinkers
	run    *pressureRun
}

// A pressureRun is one goroutine. Guarded by pressure.mu, but stop.
type pressureRun struct {
	stop    chan struct{} // closed when it has to end
	ended   bool          // stop is closed
	notices notices       // nil before they are open, and where there are none
}

// notices is what sys.PressureNotices does.
type notices interface {
	Wait(most time.Duration) (stalled bool, err error)
	Close()
}

// openNotices opens what gives notice. complete says that nothing has to be read beside it.
func openNotices() (n notices, complete bool, err error) {
	files, err := sys.OpenPressureNotices()
	if err != nil {
		return nil, false, err
	}
	return files, files.Stalls && files.Groups, nil
}

// watchPressure starts the goroutine with the first arena that has a shrinker, and ends it with the
// last. It is called when the arena gets its first or loses its last shrinker, and by Close.
func (a *Arena) watchPressure() {
	w := a.cfg.watch
	p := &w.pressure
	p.mu.Lock()
	defer p.mu.Unlock()
	has := a.reclaim.any.Load() && a.runs.Load() >= 0
	if has == a.reclaim.pressed {
		return
	}
	if a.reclaim.pressed = has; has {
		p.arenas++
	} else {
		p.arenas--
	}
	switch {
	case p.arenas > 0 && p.run == nil:
		p.run = &pressureRun{stop: make(chan struct{})}
		go w.waitForPressure(p.run)
	case p.arenas == 0 && p.run != nil:
		p.run.ended = true
		close(p.run.stop)
		if p.run.notices != nil {
			p.run.notices.Close()
		}
		p.run = nil
	}
}

// waitForPressure is the goroutine.
func (w *watch) waitForPressure(r *pressureRun) {
	p := &w.pressure
	n, complete, err := p.open()
	if err == nil {
		defer n.Close()
		p.mu.Lock()
		r.notices = n
		ended := r.ended
		p.mu.Unlock()
		if ended {
			return
		}
	} else if !errors.Is(err, errors.ErrUnsupported) {
		w.logNoNotices(err)
	}
	var seen readings
	for rest := n == nil; ; rest = n == nil || err == nil {
		read, failed := p.read()
		if n == nil && errors.Is(failed, errors.ErrUnsupported) {
			return // this system says nothing
		}
		w.callShrinkers(seen.part(read, time.Now()))
		if rest && !p.sleep(r) {
			return
		}
		if n == nil {
			continue
		}
		most := p.period // then the files are read
		if complete {
			most = 0
		}
		if seen.stalled, err = n.Wait(most); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			n = nil // closed, or no longer good for anything
		}
	}
}

// logNoNotices has the arenas that have shrinkers now log why these may be called late.
func (w *watch) logNoNotices(err error) {
	for _, a := range openArenas() {
		if a.cfg.watch == w && a.reclaim.any.Load() {
			a.LogHost("slubd: the kernel gives no notice of memory pressure, it is read each second", "error", err.Error())
		}
	}
}

// sleep waits for a period, and reports false if the goroutine has to end.
func (p *pressure) sleep(r *pressureRun) bool {
	rest := time.NewTimer(p.period)
	defer rest.Stop()
	select {
	case <-rest.C:
		return true
	case <-r.stop:
		return false
	}
}

// callShrinkers has the shrinkers of all arenas asked for a part of their objects, and the pages
// that become free given back to the kernel. It does nothing for a part of 0.
func (w *watch) callShrinkers(part int64) {
	if part == 0 {
		return
	}
	for _, a := range openArenas() {
		if a.cfg.watch == w {
			a.shrinkInBackground(part, func(int64) {
				a.giveBack(func() bool { return false })
				a.Purge(0)
			})
		}
	}
}

// readings compares what the kernel says with what it has said before.
type readings struct {
	stalled bool // the kernel has given notice that threads wait for memory
	groups  map[string]sys.GroupPressure
	total   time.Duration
	last    time.Time
}

// part returns what shrinkers are asked for after another reading, 0 if there was no pressure since
// the one before. Threads that waited for memory for at least 7.5 % of the time are pressure, as
// they are for the trigger of package sys. So is a cgroup at its limit, unless more than an eighth
// of its memory is files' pages: the kernel then makes room by itself, as it does all the time for
// a program that writes logs.
func (r *readings) part(p sys.Pressure, now time.Time) (part int64) {
	first := r.groups == nil
	if first {
		r.groups = make(map[string]sys.GroupPressure)
	}
	for _, g := range p.Groups {
		before, known := r.groups[g.Dir]
		r.groups[g.Dir] = g
		switch {
		case !known:
		case g.OOM > before.OOM:
			part = partOOM
		case g.AtLimit > before.AtLimit && g.File <= (g.File+g.Anon)/8 && part == 0:
			part = partStalled
		}
	}
	if rise := p.Stalled - r.total; part == 0 && !first && (r.stalled || rise > 0 && rise >= now.Sub(r.last)*75/1000) {
		part = partStalled
	}
	r.total, r.last = max(r.total, p.Stalled), now
	return part
}
