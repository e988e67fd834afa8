//go:build !linux

package main

import "time"

func pause(d time.Duration) { time.Sleep(d) }

func wakeOnTime() error { return nil }

// splitCPUs does nothing where the kernel has no CPU affinity that a program may set.
func splitCPUs(*options) (join func(), err error) { return func() {}, nil }

// resident asks the server for the bytes that its process has in memory.
func (p *process) resident() (int64, error) { return infoOf(p.address, "used_memory_rss") }
