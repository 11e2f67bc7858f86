// Opens the Vulkan loader by the names that users' machines have: the version-numbered one on Linux (the bare name
// belongs to development packages), the loader's and MoltenVK's on macOS, vulkan-1.dll on Windows. The library stays
// open for the life of the process: drivers start threads whose code must not be unmapped.
#include "shim.h"
#include <stdio.h>

#if defined(_WIN32)
#include <windows.h>
static void *open_library(const char *name) { return (void *)LoadLibraryA(name); }
static AnyFn find(void *lib, const char *name) { return (AnyFn)GetProcAddress((HMODULE)lib, name); }
static const char *reason(void) { return "not found"; }
static const char *const names[] = {"vulkan-1.dll"};
#else
#include <dlfcn.h>
static void *open_library(const char *name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }
static AnyFn find(void *lib, const char *name) {
	AnyFn f;
	*(void **)&f = dlsym(lib, name); // POSIX's own way round C's rule on data and function pointers
	return f;
}
static const char *reason(void) { const char *e = dlerror(); return e ? e : "not found"; }
#if defined(__APPLE__)
static const char *const names[] = {"libvulkan.1.dylib", "libvulkan.dylib", "/usr/local/lib/libvulkan.1.dylib",
	"/opt/homebrew/lib/libvulkan.1.dylib", "libMoltenVK.dylib", "/usr/local/lib/libMoltenVK.dylib",
	"/opt/homebrew/lib/libMoltenVK.dylib"};
#elif defined(__ANDROID__)
static const char *const names[] = {"libvulkan.so"};
#else
static const char *const names[] = {"libvulkan.so.1", "libvulkan.so"};
#endif
#endif

AnyFn vkx_load(char *why, uint32_t size) {
	uint32_t used = 0;
	why[0] = 0;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		void *lib = open_library(names[i]);
		const char *what = "has no vkGetInstanceProcAddr";
		if (lib) {
			AnyFn f = find(lib, "vkGetInstanceProcAddr");
			if (f) return f;
		} else {
			what = reason();
		}
		if (used + 1 < size) {
			int n = snprintf(why + used, size - used, "%s%s: %s", i ? "; " : "", names[i], what);
			if (n > 0) used += (uint32_t)n;
			if (used >= size) used = size - 1;
		}
	}
	return NULL;
}
