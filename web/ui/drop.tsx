import { useEffect, useRef, useState } from 'preact/hooks';

interface DropProps {
  readonly onFile: (file: File) => void;
  /** Small once a file is open. */
  readonly small: boolean;
}

/** The file that a drag carries; null for text, links and the like. */
function fileOf(event: DragEvent): File | null {
  return event.dataTransfer?.files[0] ?? null;
}

/** Opens a file: dropped anywhere on the page, or chosen. */
export function Drop({ onFile, small }: DropProps) {
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const onDragOver = (event: DragEvent): void => {
      event.preventDefault();
      setOver(true);
    };
    const onDragLeave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event: DragEvent): void => {
      event.preventDefault();
      setOver(false);
      const file = fileOf(event);
      if (file !== null) onFile(file);
    };
    document.addEventListener('dragover', onDragOver);
    document.addEventListener('dragleave', onDragLeave);
    document.addEventListener('drop', onDrop);
    return () => {
      document.removeEventListener('dragover', onDragOver);
      document.removeEventListener('dragleave', onDragLeave);
      document.removeEventListener('drop', onDrop);
    };
  }, [onFile]);
  return (
    <div class={`drop${small ? ' small' : ''}${over ? ' over' : ''}`}>
      <label class="button" for="file">
        {small ? 'Open another file' : 'Choose a kernel image'}
      </label>
      <input
        id="file"
        ref={input}
        type="file"
        class="hidden"
        onChange={() => {
          const file = input.current?.files?.[0];
          if (file !== undefined) onFile(file);
          // The same file can be chosen again, after it has changed.
          if (input.current !== null) input.current.value = '';
        }}
      />
      <span class="hint">or drop it on this page</span>
    </div>
  );
}
