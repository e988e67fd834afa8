package loops

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/metrics"
	"github.com/slubd/slubd/slub"
)

// runDisturbed is Run for a workload with a disturbance: a run in which the disturbing goroutine
// only keeps its CPU busy, and then one in which it does what the workload is about.
func (s *Session) runDisturbed(spec workload.Spec) (workload.Sample, error) {
	op := spec.Disturb
	spec.Disturb = workload.DisturbNothing
	quiet, err := s.run(spec)
	if err != nil {
		return quiet, err
	}
	spec.Disturb = op
	sample, err := s.run(spec)
	if err == nil {
		sample.Extra[workload.Undisturbed] = quiet.Value
	}
	return sample, err
}

// disturb starts the goroutine that disturbs a run, if there is to be one. stop waits for what it
// is doing, and returns how often it did that, at least once.
func (s *Session) disturb(spec workload.Spec) (stop func() (times int, err error), err error) {
	if spec.Disturb == "" {
		return func() (int, error) { return 0, nil }, nil
	}
	c, ok := s.target.(*cache)
	step := map[string]func(*slub.Cache, int) error{
		workload.DisturbNothing:  func(*slub.Cache, int) error { return nil },
		workload.DisturbScrape:   scrape,
		workload.DisturbShrink:   shrink,
		workload.DisturbCaches:   openAndClose,
		workload.DisturbCapacity: changeCapacity,
	}[spec.Disturb]
	if !ok || step == nil {
		return nil, noLoop(spec.Disturb, spec.Kind)
	}
	var quit atomic.Bool
	var times int
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		next := time.Now()
		for first := true; first || !quit.Load() && failed == nil; first = false {
			failed = step(c.Cache, times)
			times++
			// It keeps its CPU, as if it were busy with something else in between.
			for next = next.Add(workload.DisturbEvery); time.Until(next) > 0 && !quit.Load(); {
			}
		}
	}()
	return func() (int, error) {
		quit.Store(true)
		<-done
		return times, failed
	}, nil
}

// scrape has everything that /metrics shows read and written as text.
func scrape(*slub.Cache, int) error {
	r, err := http.NewRequest(http.MethodGet, "/metrics", http.NoBody)
	if err != nil {
		return err
	}
	w := &discarded{header: http.Header{}, status: http.StatusOK}
	scraped.ServeHTTP(w, r)
	if w.status != http.StatusOK {
		return fmt.Errorf("scraping: status %d", w.status)
	}
	return nil
}

var scraped = metrics.Handler()

// discarded is a response that is thrown away.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }

// shrink gives back what the workload's cache keeps.
func shrink(c *slub.Cache, _ int) error {
	c.Shrink()
	return nil
}

// openAndClose makes another cache in the same arena, uses and closes it.
func openAndClose(c *slub.Cache, _ int) error {
	other, err := slub.New(c.Arena(), slub.Config{Name: "bench-other", Size: 256})
	if err != nil {
		return err
	}
	p, err := other.Alloc()
	if err == nil {
		other.Free(p)
	}
	return errors.Join(err, other.Close())
}

// changeCapacity gives the sheaves of the workload's cache another capacity, in turn the automatic
// one and half of that.
func changeCapacity(c *slub.Cache, times int) error {
	capacity := 0
	if times%2 == 0 {
		capacity = c.Stats().SheafCapacity / 2
	}
	return c.SetSheafCapacity(capacity)
}
