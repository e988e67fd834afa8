//go:build !linux

package loops

import "runtime"

func yield() { runtime.Gosched() }
