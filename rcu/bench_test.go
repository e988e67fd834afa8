package rcu

import (
	"context"
	"testing"
)

// BenchmarkQuiescent measures a report when nobody has asked for one since
// the last, and one that has to be stored (with the Start that asks).
func BenchmarkQuiescent(b *testing.B) {
	b.Run("unasked", func(b *testing.B) {
		var d Domain
		r := d.Register("bench")
		for b.Loop() {
			r.Quiescent()
		}
	})
	b.Run("asked", func(b *testing.B) {
		var d Domain
		r := d.Register("bench")
		for b.Loop() {
			d.Start()
			r.Quiescent()
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

// BenchmarkPoll measures Start and Poll as a writer uses them, by the number
// of readers that Poll has to look at, and Poll's two short answers.
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
