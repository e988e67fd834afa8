//go:build !linux

package loops

import (
	"runtime"
	"time"
)

func yield() { runtime.Gosched() }

func pause(d time.Duration) { time.Sleep(d) }
