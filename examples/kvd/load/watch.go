package main

import (
	"bufio"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// residentEvery is the time between two readings of what is resident, which cost the server
	// nothing. collectionsEvery is the time between two questions to the server.
	residentEvery    = time.Second
	collectionsEvery = 10 * time.Second
)

// A watcher notes what is resident and counts collections while a server is measured. Its fields,
// except seen, are the goroutine's until stop has returned.
type watcher struct {
	process     *process
	need        int64 // collections
	first       int64 // as of the beginning
	collections int64 // since then
	sum, n      int64 // of the readings of resident bytes
	peak        int64
	seen        atomic.Bool // the collections that are needed were seen
	quit        chan struct{}
	ended       chan error
}

// watch begins. Of a server whose data is not on a Go heap no collection is needed.
func watch(p *process, onHeap bool, collections int) (*watcher, error) {
	w := &watcher{process: p, quit: make(chan struct{}), ended: make(chan error, 1)}
	if onHeap {
		w.need = int64(collections)
	}
	var err error
	if w.first, err = infoOf(p.address, "go_gc_cycles"); err != nil {
		return nil, err
	}
	w.seen.Store(w.need == 0)
	go func() { w.ended <- w.run() }()
	return w, nil
}

// enough reports whether as many collections were seen as are needed. Any goroutine.
func (w *watcher) enough() bool { return w.seen.Load() }

func (w *watcher) run() error {
	tick := time.NewTicker(residentEvery)
	defer tick.Stop()
	for asked := time.Now(); ; {
		n, err := w.process.resident()
		if err != nil {
			return err
		}
		w.sum, w.n, w.peak = w.sum+n, w.n+1, max(w.peak, n)
		if !w.enough() && time.Since(asked) >= collectionsEvery {
			asked = time.Now()
			if err := w.count(); err != nil {
				return err
			}
		}
		select {
		case <-w.quit:
			return w.count()
		case <-tick.C:
		}
	}
}

func (w *watcher) count() error {
	now, err := infoOf(w.process.address, "go_gc_cycles")
	if w.collections = now - w.first; err == nil && w.collections >= w.need {
		w.seen.Store(true)
	}
	return err
}

// stop ends the watch.
func (w *watcher) stop() error {
	close(w.quit)
	return <-w.ended
}

// mean returns what was resident on average.
func (w *watcher) mean() int64 { return w.sum / max(1, w.n) }

// infoOf asks a server for a number of its INFO. It is 0 if the server doesn't have it:
// redis-server has no collector.
func infoOf(address, name string) (int64, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.Write([]byte("INFO memory\r\nQUIT\r\n")); err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(c); ; {
		if !lines.Scan() {
			return 0, lines.Err()
		}
		if n, found := strings.CutPrefix(lines.Text(), name+":"); found {
			return strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
}
