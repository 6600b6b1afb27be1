import { useEffect, useRef, useState } from "preact/hooks";

/**
 * Takes files dropped anywhere on the page; true while some are held over it. Folders are left out, and so is what is
 * dropped on a dialog: it covers the page, and may be about to change where files go.
 */
export function useFileDrop(onFiles: (files: File[]) => void): boolean {
  const [dragging, setDragging] = useState(false);
  const take = useRef(onFiles);
  take.current = onFiles;
  useEffect(() => {
    // Every element entered and left fires an event: the files are gone only when all are left again.
    let depth = 0;
    const set = (value: number) => {
      depth = value;
      setDragging(depth > 0);
    };
    const handlers = {
      dragenter: () => set(depth + 1),
      dragleave: () => set(Math.max(0, depth - 1)),
      dragover: () => undefined,
      drop: (event: DragEvent) => {
        set(0);
        const files = onDialog(event) ? [] : filesOf(event);
        if (files.length > 0) take.current(files);
      },
    };
    const listeners = Object.entries(handlers).map(([type, handle]) => {
      const listener = (event: Event) => {
        if (!(event instanceof DragEvent) || !event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        handle(event);
      };
      window.addEventListener(type, listener);
      return () => window.removeEventListener(type, listener);
    });
    return () => listeners.forEach((remove) => remove());
  }, []);
  return dragging;
}

/** A modal dialog's backdrop is part of it, so this holds for the whole page while one is open. */
function onDialog({ target }: DragEvent): boolean {
  return target instanceof Element && target.closest("dialog") !== null;
}

function filesOf(event: DragEvent): File[] {
  const items = [...(event.dataTransfer?.items ?? [])];
  const folders = items.map((item) => item.webkitGetAsEntry()?.isDirectory ?? false);
  return [...(event.dataTransfer?.files ?? [])].filter((_, index) => !folders[index]);
}
