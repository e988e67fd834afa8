//go:build !race && !asan

package slub

import "unsafe"

// sanitized reports whether a sanitizer of this build watches objects.
const sanitized = false

// hidesBytes says that the sanitizer hides the bytes beside objects, and those of free objects: no
// red zone and no poison can be read there.
const hidesBytes = false

func acquireObject(unsafe.Pointer, layout) {}
func exposeObject(unsafe.Pointer, layout)  {}
func releaseObject(unsafe.Pointer, layout) {}

func limitObject(p unsafe.Pointer, n, room uintptr) {}

func shareObject(unsafe.Pointer)  {}
func deferObject(unsafe.Pointer)  {}
func expireObject(unsafe.Pointer) {}
