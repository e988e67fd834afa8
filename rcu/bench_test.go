package rcu

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkQuiescent measures a report without a Start since the last one, and a report that has to
// be stored, together with its Start.
func BenchmarkQuiescent(b *testing.B) {
	b.Run("nothing-started", func(b *testing.B) {
		var d Domain
		r := d.Register("bench")
		for b.Loop() {
			r.Quiescent()
		}
	})
	b.Run("started", func(b *testing.B) {
		var d Domain
		r := d.Register("bench")
		for b.Loop() {
			d.Start()
			r.Quiescent()
		}
	})
}

// BenchmarkSection measures one section: by Enter and Exit, on one goroutine and on every CPU, of a
// registered reader by its own Enter and Exit, and of one that reports every 1024 sections.
func BenchmarkSection(b *testing.B) {
	b.Run("enter-exit", func(b *testing.B) {
		var d Domain
		for b.Loop() {
			d.Enter().Exit()
		}
	})
	b.Run("enter-exit,parallel", func(b *testing.B) {
		var d Domain
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				d.Enter().Exit()
			}
		})
	})
	b.Run("reader-enter-exit", func(b *testing.B) {
		var d Domain
		r := d.Register("bench")
		r.Offline()
		value, sum := new(atomic.Int64), int64(0)
		for i := 0; i < b.N; i++ {
			r.Enter()
			sum += value.Load()
			r.Exit()
		}
	})
	b.Run("quiescent-every-1024", func(b *testing.B) {
		var d Domain
		r := d.Register("bench")
		value, sum := new(atomic.Int64), int64(0)
		for i := 0; i < b.N; i++ {
			r.Lock()
			sum += value.Load()
			r.Unlock()
			if i%1024 == 0 {
				r.Quiescent()
			}
		}
	})
}

func BenchmarkOfflineOnline(b *testing.B) {
	var d Domain
	r := d.Register("bench")
	for b.Loop() {
		r.Offline()
		r.Online()
	}
}

// BenchmarkPoll measures Start and Poll as a writer uses them, by the number of readers that Poll
// has to look at, and Poll's two short answers.
func BenchmarkPoll(b *testing.B) {
	for name, readers := range map[string]int{"start,readers=1": 1, "start,readers=16": 16} {
		b.Run(name, func(b *testing.B) {
			var d Domain
			for range readers {
				d.Register("bench").Offline()
			}
			for b.Loop() {
				d.Poll(d.Start())
			}
		})
	}
	b.Run("over", func(b *testing.B) {
		var d Domain
		for t := d.Start(); b.Loop(); {
			d.Poll(t)
		}
	})
	b.Run("held", func(b *testing.B) {
		var d Domain
		d.Register("bench")
		for t := d.Start(); b.Loop(); {
			d.Poll(t)
		}
	})
}

// BenchmarkSynchronize measures the latency of a grace period with as many readers as Go has
// processors, each of which reports after every 1024 sections and does nothing else.
func BenchmarkSynchronize(b *testing.B) {
	for name, synchronize := range map[string]func(*Domain, context.Context) error{
		"normal": (*Domain).Synchronize, "expedited": (*Domain).SynchronizeExpedited,
	} {
		b.Run(name, func(b *testing.B) {
			var d Domain
			var stop atomic.Bool
			var readers sync.WaitGroup
			n := runtime.GOMAXPROCS(0)
			for range n {
				readers.Go(func() {
					r := d.Register("busy")
					defer r.Close()
					value, sum := new(atomic.Int64), int64(0)
					for !stop.Load() {
						for range 1024 {
							r.Lock()
							sum += value.Load()
							r.Unlock()
						}
						r.Quiescent()
					}
				})
			}
			for d.Stats().Online < n {
				runtime.Gosched()
			}
			for b.Loop() {
				if err := synchronize(&d, context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			stop.Store(true)
			readers.Wait()
		})
	}
}

// BenchmarkDeferParallel is BenchmarkDefer on as many goroutines as there are CPUs.
func BenchmarkDeferParallel(b *testing.B) {
	var d Domain
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			d.Defer(func() {})
		}
	})
	if err := d.Barrier(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDefer measures queueing and running a callback, without readers.
func BenchmarkDefer(b *testing.B) {
	var d Domain
	ran := 0
	b.ReportAllocs()
	for b.Loop() {
		d.Defer(func() { ran++ })
	}
	if err := d.Barrier(context.Background()); err != nil || ran < b.N {
		b.Fatalf("%d of %d callbacks have run: %v", ran, b.N, err)
	}
}
