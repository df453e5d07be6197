/** Told how wide an element is: when it is there, and whenever that changes. */
export const sized = (tell: (width: number) => void) => (node: Element) => {
  const watch = new ResizeObserver(() => tell(node.clientWidth));
  tell(node.clientWidth);
  watch.observe(node);
  return () => watch.disconnect();
};
