package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/replay"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// traces reads the files of a list.
func traces(list string) (all []runner.Trace, err error) {
	if list == "" {
		return nil, nil
	}
	for _, file := range strings.Split(list, ",") {
		t := runner.Trace{}
		if t.File, err = filepath.Abs(strings.TrimSpace(file)); err != nil {
			return nil, err
		}
		if t.Replay, err = replay.Load(t.File); err != nil {
			return nil, err
		}
		name := workload.OfTrace(t.File).Name
		if i := slices.IndexFunc(all, func(o runner.Trace) bool { return workload.OfTrace(o.File).Name == name }); i >= 0 {
			return nil, fmt.Errorf("%s and %s would both be called %s", all[i].File, t.File, name)
		}
		all = append(all, t)
	}
	return all, nil
}

// memoryShare is the part of the machine's memory that the objects of a trace may take.
const memoryShare = 0.5

// roomy returns an error if the objects of a trace don't fit into memory, replayed by the most
// threads. The kernel would end this process, or another one.
func (o options) roomy() error {
	var memory float64
	for _, n := range o.machine.Nodes {
		memory += float64(n.Memory)
	}
	for _, t := range o.choice.Traces {
		if need := float64(t.Peak) * float64(slices.Max(o.choice.Threads)); memory > 0 && need > memoryShare*memory {
			return fmt.Errorf("%s needs %.0f bytes with %d threads, and the machine has %.0f", t.File, need, slices.Max(o.choice.Threads), memory)
		}
	}
	return nil
}
